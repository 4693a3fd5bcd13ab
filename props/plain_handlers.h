// The user opcodes that the plain kernel knows, as the interpreter is given them, and a launch over
// its memory. Include it after all other headers: it imports the library.
#pragma once

#include <cstdint>

#include "plain_kernel.h"

import megakernel;

namespace props {

namespace mk = megakernel;
namespace dev = mk::device;

inline constexpr mk::fault_code outside{2};

struct store_handler {
  static constexpr mk::opcode op{plain::user_store};
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
  static constexpr mk::opcode op{plain::user_add};
  using arguments = store_handler::arguments;
  template <class Context>
  dev::outcome operator()(const arguments& a, Context& context) const {
    return context.add_result(a.index, a.value) ? dev::outcome::done()
                                                : dev::outcome::fault(outside);
  }
};
struct yield_handler {
  static constexpr mk::opcode op{plain::user_yield};
  struct arguments {};
  template <class Context>
  dev::outcome operator()(const arguments&, Context&) const {
    return dev::outcome::yield();
  }
};
struct requeue_handler {
  static constexpr mk::opcode op{plain::user_requeue};
  struct arguments {};
  template <class Context>
  dev::outcome operator()(const arguments&, Context&) const {
    return dev::outcome::requeue();
  }
};
struct fault_handler {
  static constexpr mk::opcode op{plain::user_fault};
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

inline dev::launch launch_of(plain::kernel_state& k) {
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

}  // namespace props
