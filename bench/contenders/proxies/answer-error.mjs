/** What every one of these proxies does when its upstream cannot be asked: 502, or the end of what has begun. */
export function answerError(response) {
  if (response.headersSent === false) response.writeHead(502).end();
  else response.destroy?.();
}
