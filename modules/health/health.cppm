// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
/// The judgement of a kernel out of what is decoded (docs/protocol.md#health-tracker): each sample
/// against those before it.
export module megakernel.health;
export import megakernel.protocol;  // the types it is told in
export import megakernel.decoder;   // the telemetry it judges
export import :state;               // one word for a kernel: idle, stalled, dead and so on
export import :tracker;    // two samples, or many: dead, stalled, blocked, idle, progressing
export import :diagnosis;  // what ails a ring: evidence, the slots concerned, what to try
