// config/messageRequestMode.json: topics that a group gets by pop instead of by pull, as an administrator said. Clients
// that let the broker share out the queues are told with their share.

import { isJavaJsonObject, type JavaJsonObject, javaJsonObject } from "../../remoting/java_json.ts";
import { ConfigManager, type ConfigManagerOptions } from "../config_manager.ts";

/** How a group gets a topic. Mirrors Apache's `SetMessageRequestModeRequestBody`. */
export interface MessageRequestMode {
  readonly topic: string;
  readonly consumerGroup: string;
  readonly mode: "PULL" | "POP";
  /** With POP: members that share a queue besides its own; 0: all share all. */
  readonly popShareQueueNum: number;
}

/** Pairs of topic and group whose mode is kept at most. */
const MODES_MAX = 100_000;

/** Topic to (group to mode), 5.x. Mirrors Apache's `MessageRequestModeManager`. */
export class MessageRequestModeManager extends ConfigManager {
  constructor(options: ConfigManagerOptions) {
    super("messageRequestMode.json", options);
  }

  /** What was set for the pair; null: nothing. */
  getMessageRequestMode(topic: string, consumerGroup: string): MessageRequestMode | null {
    const groups = this.#modes[topic];
    const json = isJavaJsonObject(groups) ? groups[consumerGroup] : undefined;
    if (!isJavaJsonObject(json)) return null;
    const shared = json.popShareQueueNum;
    return {
      topic,
      consumerGroup,
      mode: json.mode === "POP" ? "POP" : "PULL",
      popShareQueueNum: typeof shared === "number" && Number.isInteger(shared) ? shared : 0,
    };
  }

  /** Sets it; {@link persist} writes it. False when 100,000 pairs are set already. */
  setMessageRequestMode({ topic, consumerGroup, mode, popShareQueueNum }: MessageRequestMode): boolean {
    const table = javaJsonObject(this.#modes);
    const groups = javaJsonObject(isJavaJsonObject(table[topic]) ? table[topic] : {});
    if (groups[consumerGroup] === undefined && this.#count() >= MODES_MAX) return false;
    groups[consumerGroup] = javaJsonObject({ consumerGroup, mode, popShareQueueNum, topic });
    table[topic] = groups;
    this.replace(this.merged({ messageRequestModeMap: table }));
    return true;
  }

  /** Takes over a master's table (body of GET_ALL_MESSAGE_REQUEST_MODE) in one step. */
  adopt(body: JavaJsonObject): void {
    const { messageRequestModeMap } = body;
    this.replace(this.merged({ messageRequestModeMap }));
  }

  get #modes(): JavaJsonObject {
    const table = this.table("messageRequestModeMap");
    return isJavaJsonObject(table) ? table : javaJsonObject();
  }

  #count(): number {
    let count = 0;
    for (const groups of Object.values(this.#modes)) if (isJavaJsonObject(groups)) count += Object.keys(groups).length;
    return count;
  }
}
