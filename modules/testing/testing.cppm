// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
/// Every interleaving of lanes and other actors, one access at a time. A library of its own, linked
/// by tests, fuzzers and replay, and no part of `megakernel`.
export module megakernel.testing;
export import megakernel.runtime;  // the buffers and lanes it steps
export import :fiber;              // an actor's code, stopped before each access
export import :stepper;            // any interleaving, one access at a time
