// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <atomic>
#include <csignal>

#include "cli/signals.h"

std::atomic<int> signals_caught{0};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void count_signal(int signal) {
  if (signals_caught.fetch_add(1, std::memory_order_relaxed) != 0) std::signal(signal, SIG_DFL);
}

void catch_signals() {
  struct sigaction action{};
  action.sa_handler = count_signal;  // without SA_RESTART: a write that waits is interrupted
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM}) {
    // Signals that the parent ignores stay ignored: a shell does so for background jobs.
    struct sigaction before{};
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
      sigaction(signal, &action, nullptr);
  }
}
