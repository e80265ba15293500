# source env.sh [admin|demo|eve]   (default demo): settings for the openstack and glance clients.
# The clients find the image service through the catalog (IMAGE_ENDPOINT of up.sh). eve is in another project.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export OS_AUTH_URL=$KEYSTONE_URL OS_AUTH_TYPE=password
export OS_IDENTITY_API_VERSION=3 OS_IMAGE_API_VERSION=2 OS_REGION_NAME=$REGION
export OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default
case ${1:-demo} in
  admin) export OS_USERNAME=admin OS_PROJECT_NAME=admin OS_PASSWORD=$ADMIN_PASSWORD ;;
  demo)  export OS_USERNAME=demo  OS_PROJECT_NAME=demo  OS_PASSWORD=demopass ;;
  eve)   export OS_USERNAME=eve   OS_PROJECT_NAME=other OS_PASSWORD=evepass ;;
  *) echo "env.sh: admin, demo or eve" >&2 ;;
esac
