#!/usr/bin/python3
"""Idempotently put projects, users, roles and the service catalog in Keystone.
The image endpoint becomes $IMAGE_ENDPOINT (all three interfaces). Prints the id of the public one, which oslo.limit wants."""
import os
from keystoneauth1 import session
from keystoneauth1.identity import v3
from keystoneclient.v3 import client

E = os.environ
auth = v3.Password(auth_url=E['KEYSTONE_URL'], username='admin', password=E['ADMIN_PASSWORD'],
                   project_name='admin', user_domain_id='default', project_domain_id='default')
k = client.Client(session=session.Session(auth=auth), endpoint_override=E['KEYSTONE_URL'])


def get(manager, name, **kw):
    return next((x for x in manager.list() if x.name == name), None) or manager.create(name=name, **kw)


roles = {r.name: r for r in k.roles.list()}
for r in ('admin', 'member', 'reader', 'service'):
    roles[r] = roles.get(r) or k.roles.create(r)
projects = {p: get(k.projects, p, domain='default') for p in ('admin', 'service', 'demo', 'other')}
#       user      password               project    roles
for u, pw, p, rs in (
        ('glance', E['SERVICE_PASSWORD'], 'service', ('admin', 'service')),
        ('demo', 'demopass', 'demo', ('member',)),
        ('eve', 'evepass', 'other', ('member',))):             # a stranger: another project
    user = get(k.users, u, password=pw, domain='default', default_project=projects[p])
    have = {r.id for r in k.roles.list(user=user, project=projects[p])}
    for r in rs:
        if roles[r].id not in have:
            k.roles.grant(roles[r], user=user, project=projects[p])
    if u == 'glance':                # oslo.limit reads limits as one who reads the whole system
        k.roles.grant(roles['reader'], user=user, system='all')
image = get(k.services, 'glance', type='image')
old = {e.interface: e for e in k.endpoints.list(service=image)}
for i in ('public', 'internal', 'admin'):
    if i not in old:
        old[i] = k.endpoints.create(image, E['IMAGE_ENDPOINT'], interface=i, region=E['REGION'])
    elif old[i].url != E['IMAGE_ENDPOINT']:
        k.endpoints.update(old[i], url=E['IMAGE_ENDPOINT'])

# every resource of Glance's unified limits has a default; one that is not registered would be 0
have = {(r.service_id, r.resource_name) for r in k.registered_limits.list()}
for name, default in (('image_size_total', 1000), ('image_stage_total', 1000), ('image_count_total', 100),
                      ('image_count_uploading', 100)):
    if (image.id, name) not in have:
        k.registered_limits.create(image, name, default, region=E['REGION'])
print(old['public'].id)
