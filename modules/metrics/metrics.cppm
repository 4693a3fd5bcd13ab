// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
/// A kernel as a page that Prometheus reads, out of what was decoded and judged: no kernel has to
/// run in this process.
export module megakernel.metrics;
export import megakernel.protocol;  // the types it is told in
export import megakernel.decoder;   // the telemetry it counts
export import megakernel.health;    // the state it shows
export import :ranking;             // few of very many tenants and opcodes
export import :page;                // look by look, and rendered
