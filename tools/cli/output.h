// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <string_view>

namespace megakernel::tool {

/// Buffered text to a descriptor. The first failure sticks: later text is dropped, and `finish`
/// says what happened. A process that uses it ignores SIGPIPE.
class output {
 public:
  explicit output(int descriptor) noexcept : descriptor_(descriptor) {}
  output(const output&) = delete;
  output& operator=(const output&) = delete;

  void write(std::string_view text);
  /// Writes what is left now, for a reader who watches.
  void flush() noexcept;
  /// Writes what is left; 0, or the `errno` of the first failure.
  [[nodiscard]] int finish() noexcept;
  /// No reader is left for more text: a long rendering may stop.
  [[nodiscard]] bool failed() const noexcept { return failure_ != 0; }

 private:
  int descriptor_;
  int failure_ = 0;
  std::string pending_;
};

}  // namespace megakernel::tool
