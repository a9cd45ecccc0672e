// SPDX-License-Identifier: Apache-2.0
// GET /hello on node's http. It writes Date and keep-alive by itself.
//   node hello.mjs PORT     exit: killed by a signal; 1 cannot listen, 2 usage

import { createServer } from "node:http";

const hello = '{"message":"hello, world"}';

if (process.argv.length !== 3) {
  console.error("usage: node hello.mjs PORT");
  process.exit(2);
}
const server = createServer({ maxHeaderSize: 16 * 1024 }, (request, response) => {
  if (request.url !== "/hello") {
    response.writeHead(404).end();
  } else if (request.method !== "GET") {
    response.writeHead(405).end();
  } else {
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": hello.length });
    response.end(hello);
  }
});
server.headersTimeout = 10_000;
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2]), "127.0.0.1", 4096);
