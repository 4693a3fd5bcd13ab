// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One-shot launches of the library's interpreter and of the plain kernel on the same words. Include
// it after the library.
#pragma once

namespace props::kernel {

namespace mk = megakernel;
namespace dev = mk::device;
using oracle::kernel_state;

// The opcodes that oracle_kernel.h names.

inline constexpr mk::fault_code outside{2};

struct store_handler {
  static constexpr mk::opcode op{oracle::user_store};
  struct arguments {
    mk::word index, value;
  };
  template <class Context>
  dev::outcome operator()(const arguments& a, Context& context) const {
    return context.store_result(a.index, a.value) ? dev::outcome::done()
                                                  : dev::outcome::fault(outside);
  }
};
struct add_handler {
  static constexpr mk::opcode op{oracle::user_add};
  using arguments = store_handler::arguments;
  template <class Context>
  dev::outcome operator()(const arguments& a, Context& context) const {
    return context.add_result(a.index, a.value) ? dev::outcome::done()
                                                : dev::outcome::fault(outside);
  }
};
struct yield_handler {
  static constexpr mk::opcode op{oracle::user_yield};
  struct arguments {};
  template <class Context>
  dev::outcome operator()(const arguments&, Context&) const {
    return dev::outcome::yield();
  }
};
struct requeue_handler {
  static constexpr mk::opcode op{oracle::user_requeue};
  struct arguments {};
  template <class Context>
  dev::outcome operator()(const arguments&, Context&) const {
    return dev::outcome::requeue();
  }
};
struct fault_handler {
  static constexpr mk::opcode op{oracle::user_fault};
  struct arguments {
    mk::word why;
  };
  template <class Context>
  dev::outcome operator()(const arguments& a, Context& context) const {
    context.add_result(0, 1);
    return dev::outcome::fault(mk::fault_code{a.why});
  }
};
using user_opcodes =
    dev::handlers<store_handler, add_handler, yield_handler, requeue_handler, fault_handler>;

inline dev::launch launch_of(kernel_state& k) {
  return {.control = k.control.data(),
          .control_words = static_cast<mk::word>(k.control.size()),
          .ring = k.ring.data(),
          .slots = static_cast<mk::word>(k.ring.size() / 16),
          .debug_log = k.debug_log.data(),
          .debug_words = static_cast<mk::word>(k.debug_log.size()),
          .io_queue = k.io_queue.data(),
          .io_slots = static_cast<mk::word>(k.io_queue.size() / 8),
          .dfa_table = k.table.data(),
          .dfa_words = static_cast<mk::word>(k.table.size()),
          .system_tenant = k.system_tenant,
          .quotas = k.quotas};
}

/// Memory that copies by quads, as a GPU's does: all loads go ahead of all stores. Quads that do
/// not stand where 16 divides their address stay as they are.
class quad_memory : public dev::host_memory {
 public:
  /// Of words below the observable ones it has copies of its own, which it does not look at.
  const mk::word* control = nullptr;

  void copy_quads(mk::word* to, const mk::word* from, mk::word quads) {
    const auto whole = [](const mk::word* at) {
      return reinterpret_cast<std::uintptr_t>(at) % 16 == 0;
    };
    if (!whole(to) || !whole(from) || from < control + 160) return;
    const std::vector<mk::word> words(from, from + std::size_t{4} * quads);
    std::ranges::copy(words, to);
  }
};

template <class Memory>
void flush(dev::direct_counters<Memory>&) {}
template <class Memory>
void flush(dev::counter_batch<Memory>& counters) {
  counters.flush();
}

/// One-shot lanes, one after the other.
template <class Counters, class Memory = dev::host_memory>
void interpret_at(const dev::launch& where, std::uint32_t lanes, bool by_priority) {
  using slots_type = dev::interpreter<Memory, Counters, user_opcodes>;
  for (std::uint32_t l = 0; l < lanes; ++l) {
    Memory memory;
    if constexpr (requires { memory.control; }) memory.control = where.control;
    Counters counters(where, memory);
    slots_type slots(where, memory, counters);
    if (by_priority) {
      dev::priority_lane<Memory, slots_type, Counters>(where, memory, slots, counters, {l, lanes})
          .run_once();
    } else {
      dev::ring_lane<slots_type, Counters>(where, slots, counters, {l, lanes}).run_once();
    }
    flush(counters);
  }
}

template <class Counters>
void interpret(kernel_state& k, std::uint32_t lanes, bool by_priority) {
  interpret_at<Counters>(launch_of(k), lanes, by_priority);
}

/// The same by quads, of a control buffer that begins `shift` words past where 16 divides.
inline void interpret_by_quads(kernel_state& k, std::uint32_t lanes, bool by_priority,
                               std::size_t shift) {
  std::vector<mk::word> moved(shift + k.control.size());
  std::ranges::copy(k.control, moved.begin() + static_cast<std::ptrdiff_t>(shift));
  dev::launch where = launch_of(k);
  where.control = moved.data() + shift;
  interpret_at<dev::direct_counters<quad_memory>, quad_memory>(where, lanes, by_priority);
  k.control.assign(moved.begin() + static_cast<std::ptrdiff_t>(shift), moved.end());
}

inline void execute_plainly(kernel_state& k, std::uint32_t lanes, bool by_priority) {
  for (std::uint32_t l = 0; l < lanes; ++l) {
    if (by_priority) {
      oracle::run_once_by_priority(k, l, lanes);
    } else {
      oracle::run_once(k, l, lanes);
    }
  }
}

inline std::string different(const kernel_state& a, const kernel_state& b) {
  for (const auto& [what, x, y] :
       {std::tuple{"control", &a.control, &b.control}, std::tuple{"ring", &a.ring, &b.ring},
        std::tuple{"debug log", &a.debug_log, &b.debug_log},
        std::tuple{"IO queue", &a.io_queue, &b.io_queue},
        std::tuple{"table", &a.table, &b.table}}) {
    if (*x == *y) continue;
    for (std::size_t i = 0; i < x->size(); ++i) {
      if ((*x)[i] == (*y)[i]) continue;
      return std::string(what) + '[' + std::to_string(i) + "]: " + std::to_string((*x)[i]) +
             ", plainly " + std::to_string((*y)[i]);
    }
  }
  return {};
}

}  // namespace props::kernel
