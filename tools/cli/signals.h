// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// SIGINT and SIGTERM as a count, for loops that end in order.
#pragma once

#include <atomic>

/// Counts them from now on; the third one ends the process, whatever it is doing. A signal that was
/// ignored when the process began stays so.
void catch_signals();

/// How many came so far.
extern std::atomic<int> signals_caught;
inline int signals() { return signals_caught.load(std::memory_order_relaxed); }
