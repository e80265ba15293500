/** What there is to know of a server when one is chosen. */
export interface Choosable {
  readonly healthy: boolean;
  /** What it has under way, of the kind that is to be spread. */
  readonly load: number;
}

/**
 * The healthy ones. All of them where none is: what we believe of the servers is then worth less than a try, and nobody is
 * refused for a belief (Envoy and HAProxy do the same).
 */
export function eligible<Server extends Pick<Choosable, 'healthy'>>(servers: readonly Server[]): Server[] {
  const healthy = servers.filter((server) => server.healthy);
  return healthy.length > 0 ? healthy : [...servers];
}

/**
 * Of the eligible servers the one with the least load; of several such the next one in turn.
 * @param turn how often there was a choice before: any whole number from 0.
 * @returns undefined only where there is no server.
 */
export function leastLoaded<Server extends Choosable>(
  servers: readonly Server[],
  turn: number,
): Server | undefined {
  const able = eligible(servers);
  const least = Math.min(...able.map(({ load }) => load));
  const ties = able.filter(({ load }) => load === least);
  return ties[turn % ties.length];
}
