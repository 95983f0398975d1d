import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FlowMonitor } from "../../src/ha/flow_monitor.ts";

describe("FlowMonitor", () => {
  it("shows the last whole second's bytes", () => {
    const monitor = new FlowMonitor({ haFlowControlEnable: false, maxHaTransferByteInSecond: 10 }, 500);
    monitor.add(100, 600);
    monitor.add(50, 1499);
    assert.equal(monitor.transferredByteInSecond(1499), 0);
    assert.equal(monitor.transferredByteInSecond(1500), 150);
    monitor.add(7, 1600);
    assert.equal(monitor.transferredByteInSecond(2499), 150);
    assert.equal(monitor.transferredByteInSecond(2500), 7);
    assert.equal(monitor.transferredByteInSecond(3500), 0);
  });

  it("shows nothing after a pause of several seconds", () => {
    const monitor = new FlowMonitor({ haFlowControlEnable: false, maxHaTransferByteInSecond: 10 }, 0);
    monitor.add(100, 10);
    assert.equal(monitor.transferredByteInSecond(5000), 0);
  });

  it("has no limit unless enabled, and follows the options live", () => {
    const options = { haFlowControlEnable: false, maxHaTransferByteInSecond: 1000 };
    const monitor = new FlowMonitor(options, 0);
    monitor.add(5000, 1);
    assert.equal(monitor.budget(1), Number.MAX_SAFE_INTEGER);
    options.haFlowControlEnable = true;
    assert.equal(monitor.budget(1), 0);
    options.maxHaTransferByteInSecond = 6000;
    assert.equal(monitor.budget(1), 1000);
  });

  it("fills the budget at the next window", () => {
    const monitor = new FlowMonitor({ haFlowControlEnable: true, maxHaTransferByteInSecond: 1000 }, 0);
    monitor.add(900, 100);
    assert.equal(monitor.budget(200), 100);
    monitor.add(100, 200);
    assert.equal(monitor.budget(999), 0);
    assert.equal(monitor.nextWindow(999), 1000);
    assert.equal(monitor.budget(1000), 1000);
    assert.equal(monitor.nextWindow(7300.5), 8000);
  });

  it("always leaves room for a header and a byte", () => {
    assert.equal(new FlowMonitor({ haFlowControlEnable: true, maxHaTransferByteInSecond: 1 }, 0).budget(0), 13);
  });
});
