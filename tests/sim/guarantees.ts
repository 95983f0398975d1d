// What may be lost of messages answered PUT_OK: the table behind docs/guarantees.md and behind the tests of the same
// names. It holds expectations and their words only; guarantees_run.ts makes histories, guarantees_test.ts and
// guarantees_more_test.ts judge them, and compare the document with renderGuarantees().

/** How the master ends. */
export const FAILURES = [
  "clean stop",
  "broker crash",
  "OS crash",
  "power cut",
  "machine lost",
  "disk broken",
] as const;
export type Failure = (typeof FAILURES)[number];

/** One cell: how the master ends, and what all nodes are set to. A SYNC_MASTER has `inSyncReplicas` 2. */
export interface Cell {
  readonly failure: Failure;
  readonly flushDiskType: "ASYNC_FLUSH" | "SYNC_FLUSH";
  readonly brokerRole: "ASYNC_MASTER" | "SYNC_MASTER";
  readonly haAckAfterFlush: boolean;
}

/** What may be missing of what was answered PUT_OK; the words are the document's. */
export const LOSSES = {
  nothing: "nothing",
  unflushed: "unflushed",
  unreplicated: "unreplicated",
  unreplicatedOrUnflushed: "unreplicated, or unflushed at the slave",
  slaveUnflushed: "unflushed at the slave",
  everything: "everything",
} as const;
export type Loss = keyof typeof LOSSES;

/** Who serves afterwards. */
export interface Expectation {
  /** The same node, started again by itself. */
  readonly restarted: Loss;
  /** The slave, which was running, promoted. */
  readonly promoted: Loss;
  /** The slave, whose machine lost power in the same moment, started again and promoted. */
  readonly promotedAfterPowerCut: Loss;
}

/** All cells, in the document's order. */
export function cells(): Cell[] {
  return FAILURES.flatMap((failure) =>
    (["ASYNC_FLUSH", "SYNC_FLUSH"] as const).flatMap((flushDiskType) =>
      (["ASYNC_MASTER", "SYNC_MASTER"] as const).flatMap((brokerRole) =>
        [false, true].map((haAckAfterFlush) => ({ failure, flushDiskType, brokerRole, haAckAfterFlush }))
      )
    )
  );
}

/** A cell's name, which is its test's. */
export function cellName({ failure, flushDiskType, brokerRole, haAckAfterFlush }: Cell): string {
  return `${failure}, ${flushDiskType}, ${brokerRole}, haAckAfterFlush ${haAckAfterFlush ? "on" : "off"}`;
}

/** What a cell may lose, and no more. */
export function expectationOf(cell: Cell): Expectation {
  return {
    restarted: lossRestarted(cell),
    promoted: cell.brokerRole === "SYNC_MASTER" ? "nothing" : "unreplicated",
    promotedAfterPowerCut: lossAfterBoth(cell),
  };
}

/** The node's own disk decides. */
function lossRestarted({ failure, flushDiskType }: Cell): Loss {
  if (failure === "machine lost") return "everything";
  const keepsPageCache = failure === "clean stop" || failure === "broker crash";
  return keepsPageCache || flushDiskType === "SYNC_FLUSH" ? "nothing" : "unflushed";
}

/** An ack is worth what the slave does before it: however the master ended, and whatever its flush mode. */
function lossAfterBoth({ brokerRole, haAckAfterFlush }: Cell): Loss {
  if (brokerRole === "SYNC_MASTER") return haAckAfterFlush ? "nothing" : "slaveUnflushed";
  return haAckAfterFlush ? "unreplicated" : "unreplicatedOrUnflushed";
}

/** More than cells can say: by the test's name, what it shows. */
export const STATEMENTS = {
  // What an answer is worth.
  "answers: PUT_OK to WAIT=false":
    "The put was appended here, nothing more, whatever the flush and replication modes: lost by a power cut, and by a promotion.",
  "answers: FLUSH_DISK_TIMEOUT":
    "Stored and replicated as asked, but not on this disk within `syncFlushTimeout`. It may or may not survive a power cut; it is readable once flushed.",
  "answers: FLUSH_SLAVE_TIMEOUT":
    "Stored here; too few slaves acknowledged within `slaveTimeout`. A promoted slave may or may not have it.",
  "answers: SLAVE_NOT_AVAILABLE":
    "Stored here; fewer slaves than needed are in sync, so nobody waited. A promoted slave may or may not have it.",
  "answers: IN_SYNC_REPLICAS_NOT_ENOUGH": "Nothing was written: the message is nowhere, then and later.",
  "answers: UNKNOWN_ERROR and SERVICE_NOT_AVAILABLE of a failed write":
    "Nothing of it is ever readable, also not after a crash; the put after it is as good as any.",
  "answers: none": "The node ended first. The message may or may not be there: both histories exist.",
  // Replicas beyond two.
  "replicas: inSyncReplicas 2 of three nodes, the slave with the longest log":
    "Promoting the slave that is ahead loses nothing; promoting the other one loses what only the first had.",
  "replicas: inSyncReplicas 3 of three nodes": "All hold it (Apache's ALL): losing any two machines loses nothing.",
  "replicas: enableAutoInSyncReplicas with minInSyncReplicas 1":
    "Without a slave in sync PUT_OK is the master's alone, as ASYNC_MASTER; with one it is a SYNC_MASTER's.",
  "replicas: enableAutoInSyncReplicas with minInSyncReplicas 2":
    "PUT_OK always means two copies; without a slave in sync nothing is written.",
  // What an operator decides.
  "operator: both processes killed at once":
    "Either node, started again, has every message that it had: page caches outlive processes.",
  "operator: switchover loses nothing, also with ASYNC_MASTER":
    "The planned switch waits for equal ends; stopping the master and promoting does not.",
  "operator: a master that came back shorter than its slave":
    "The slave stops and keeps its bytes; promoting it loses nothing. Puts taken by the shorter master meanwhile are what is lost then.",
  "operator: haTransferAfterFlush":
    "A slave never holds what its master's disk doesn't: the master never comes back shorter.",
  // Broken disks.
  "disk: a failed sync under SYNC_FLUSH":
    "The puts that waited for it are never told PUT_OK, and the node ends itself.",
  "disk: started again after a failed sync without a reboot":
    "The kernel may hold for clean what the disk never got, so all of it is written and synced again before anything is served: a later power cut loses nothing of it. Where a sync fails again the start is refused.",
  "disk: a slave's sync fails":
    "The slave ends itself, its acknowledgements stop, and with haAckAfterFlush what it had acknowledged is on its disk.",
  "disk: a failed write or read":
    "The put is refused, or the read ends with an error; the node goes on, and nothing acknowledged is lost.",
  "disk: a bit flips at rest":
    "The damaged message is not served, all others are, and the slave's copy is whole. A new slave gets everything up to it, and stops there.",
  "disk: a bit flips at rest, then a crash":
    "Recovery ends the log at the first damaged record among the newest ones, which it walks: what follows is lost on this node, kept in `commitlog.aside/`, and the slave has it. An old record is only missing itself.",
  "disk: replaced by an empty one, as master":
    "An empty master takes nothing from its slave: the slave stops, says that its log is longer, and can be promoted.",
} as const;
export type Statement = keyof typeof STATEMENTS;

/** Marks of the generated part of docs/guarantees.md. */
export const [BEGIN, END] = ["<!-- made by tests/sim/guarantees.ts -->", "<!-- /made -->"];

/**
 * The generated part of the document. To renew it, put what this prints between the marks:
 * `node -e 'import("./tests/sim/guarantees.ts").then((m) => console.log(m.renderGuarantees()))'`.
 */
export function renderGuarantees(): string {
  const sections = FAILURES.map((failure) => {
    const rows = cells().filter((cell) => cell.failure === failure).map((cell) => {
      const { restarted, promoted, promotedAfterPowerCut } = expectationOf(cell);
      return [`\`${cellName(cell)}\``, ...[restarted, promoted, promotedAfterPowerCut].map((loss) => LOSSES[loss])];
    });
    const head = ["Test", "Same node restarted", "Slave promoted", "Slave lost power too, then promoted"];
    return `### ${failure[0]!.toUpperCase()}${failure.slice(1)}\n\n${table(head, rows)}`;
  });
  const statements = table(
    ["Test", "What it shows"],
    Object.entries(STATEMENTS).map(([name, text]) => [`\`${name}\``, text]),
  );
  return [...sections, `### Around the cells\n\n${statements}`].join("\n\n");
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => "---"), ...rows];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
