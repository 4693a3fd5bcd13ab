// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
/// Everything: `import megakernel;`. Each module can also be imported alone.
export module megakernel;
export import megakernel.protocol;  // the wire: ABI, errors, encoders, publishers, readers, IO
export import megakernel.decoder;   // what is read back: telemetry, windows, digests
export import megakernel.health;    // what is made of sample after look: verdicts, findings, advice
export import megakernel.sketch;    // what is kept of it: mergeable counts
export import megakernel.scaling;   // what it says of the next launch: its size, and why
export import megakernel.runtime;   // the system in motion: buffers, producers, lanes, snapshots
export import megakernel.metrics;   // a kernel as a page that Prometheus reads
