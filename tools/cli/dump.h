// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

#include "load/run.h"

/// Buffers as files that `megakernel inspect` reads.
namespace megakernel::tool {

/// A directory that files can be put into.
class dump_directory {
 public:
  /// Makes sure of it by writing a file and removing it. The error is a sentence without the name.
  [[nodiscard]] static std::expected<dump_directory, std::string> open(const std::string& path);
  dump_directory(dump_directory&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)) {}
  dump_directory& operator=(dump_directory&&) = delete;
  ~dump_directory();

  /// control.bin, ring.bin, debug-log.bin, io-queue.bin, previous-control.bin, previous-ring.bin,
  /// each dated as its look. All are written beside the old ones before the first takes the place
  /// of one: a failure leaves an earlier dump as it was. The error is a sentence.
  [[nodiscard]] std::expected<void, std::string> write(const run_dump& dump);

 private:
  explicit dump_directory(int descriptor) noexcept : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace megakernel::tool
