// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
/// How large the next launch should be, and why. docs/protocol.md#launch-policy
export module megakernel.scaling;
export import megakernel.protocol;  // the types it is told in
export import megakernel.decoder;   // the telemetry it reads
export import :sizing;              // worker groups, workgroup width, slots, grid
export import :policy;              // thresholds, checked when they are set
export import :recommend;           // a request -> a launch
export import :explain;             // the same, with the reason for each number
export import :launch;              // telemetry -> a launch
export import :adaptive;            // priority diffusion, autotune choice, gradient step
