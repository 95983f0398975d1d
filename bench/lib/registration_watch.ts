// A NameServer that only takes registrations: it tells when one arrived. The rest of what a NameServer does is not its.

import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { createResponse } from "../../src/remoting/remoting_command.ts";
import { RemotingServer, type RequestProcessor } from "../../src/remoting/remoting_server.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { ResponseCode } from "../../src/remoting/response_code.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";

/** Answers each registration with success. */
export class RegistrationWatch {
  /** What a broker is given as `namesrvAddr`. */
  readonly address: string;
  readonly #server: RemotingServer;
  #onRegistered: () => void = () => {};

  private constructor(address: string, server: RemotingServer) {
    this.address = address;
    this.#server = server;
  }

  /** Listens on a free port. */
  static async start(): Promise<RegistrationWatch> {
    const { net, clock } = await loadRuntime();
    const ok: RequestProcessor = (request) => createResponse(request, ResponseCode.SUCCESS);
    const server = new RemotingServer({
      net,
      clock,
      logger: SILENT_LOGGER,
      hostname: "127.0.0.1",
      port: 0,
      processors: new Map<number, RequestProcessor>([
        [RequestCode.UNREGISTER_BROKER, ok],
        [RequestCode.REGISTER_BROKER, (request) => {
          watch.#onRegistered();
          return createResponse(request, ResponseCode.SUCCESS);
        }],
      ]),
    });
    const { port } = await server.start();
    const watch = new RegistrationWatch(`127.0.0.1:${port}`, server);
    return watch;
  }

  /** From the change that `change` makes until a broker's next registration has arrived whole, ms. */
  async time(change: () => Promise<void>): Promise<number> {
    const startedAt = performance.now();
    const registered = new Promise<number>((resolve) => {
      this.#onRegistered = () => resolve(performance.now() - startedAt);
    });
    await change();
    return await registered;
  }

  async stop(): Promise<void> {
    await this.#server.stop();
  }
}
