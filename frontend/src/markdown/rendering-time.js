/** How long the browser takes to lay out and draw what was changed. */

/**
 * Call `report` with the milliseconds that drawing takes from now on; twice, because it is not known whether this frame is being drawn
 * already.
 *
 * @param {(milliseconds: number) => void} report
 */
export function measureRendering(report) {
  measure(report);
  requestAnimationFrame(() => measure(report));
}

/** @param {(milliseconds: number) => void} report */
function measure(report) {
  const began = performance.now();
  const { port1, port2 } = new MessageChannel();
  // Within a frame's callback, a message arrives after the frame is drawn.
  port1.onmessage = () => {
    port1.close();
    report(performance.now() - began);
  };
  port2.postMessage(null);
}
