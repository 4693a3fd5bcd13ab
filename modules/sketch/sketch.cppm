// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
/// Compact, mergeable summaries of telemetry. docs/protocol.md#telemetry-sketch
export module megakernel.sketch;
export import :hash;              // key -> bucket, without a division
export import :count_min;         // the sketch, its shape and its error bounds
export import :telemetry_sketch;  // five of them over one decoded ring
export import :heavy_hitters;     // which of the keys seen count most
export import :bytes;             // sketches as bytes that travel
