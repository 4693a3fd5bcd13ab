// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
export module megakernel.protocol:io;
import :abi;
import :error;

/// The queue through which a kernel asks the host for IO. docs/protocol.md#io-status
///
///     empty -> published (kernel, or host on its behalf) -> claimed (host) -> ok | error (host)
///       ^----------------------------- recycle (host) -----------------------------'
export namespace megakernel {

/// The request. `tag` is the requester's own.
struct io_request {
  io_operation operation = io_operation::read;
  std::uint32_t source = 0;
  std::uint32_t destination = 0;
  std::uint64_t offset = 0;  ///< bytes into the source
  std::uint32_t byte_count = 0;
  std::uint32_t tag = 0;
  friend constexpr bool operator==(const io_request&, const io_request&) = default;
};

/// How a claimed request ended.
struct io_completion {
  std::uint32_t slot = 0;
  bool ok = true;
};

/// The host's side of an IO queue that a kernel may be using at the same time.
///
/// A view: the bytes must outlive it. One host thread works a queue. Statuses are read with
/// acquire and stored with release. A refused call changes no byte.
class io_queue {
 public:
  /// Errors: `io_queue_partial_slot`, `io_queue_too_large`, `buffer_unaligned`.
  [[nodiscard]] static result<io_queue> over(std::span<std::byte> queue) noexcept;

  [[nodiscard]] inline std::uint32_t slots() const noexcept { return slots_; }

  /// Status of slot `slot`, any word a kernel stored. Error: `io_slot_out_of_range`.
  [[nodiscard]] result<io_status> status(std::uint32_t slot) const noexcept;

  /// Stores a request into an EMPTY slot and PUBLISHED last. Errors: `io_slot_out_of_range`,
  /// `io_operation_unknown`, `io_slot_wrong_status`.
  [[nodiscard]] result<void> publish(std::uint32_t slot, const io_request& request) noexcept;

  /// First PUBLISHED slot at or after `from`, without claiming it; nothing when there is none.
  /// O(slots).
  [[nodiscard]] std::optional<std::uint32_t> poll(std::uint32_t from = 0) const noexcept;

  /// PUBLISHED -> CLAIMED, and the request as it stands: its operation may be any word, and one
  /// that is not known is for the caller to complete as an error. Errors: `io_slot_out_of_range`,
  /// `io_slot_wrong_status`.
  [[nodiscard]] result<io_request> claim(std::uint32_t slot) noexcept;

  /// CLAIMED -> OK or ERROR for each; all are checked before any is written. Errors:
  /// `io_slot_out_of_range`, `io_slot_wrong_status`, `io_completion_repeated`. O(completions).
  [[nodiscard]] result<void> complete(std::span<const io_completion> completions) noexcept;

  /// OK or ERROR -> EMPTY. Errors: `io_slot_out_of_range`, `io_slot_wrong_status`.
  [[nodiscard]] result<void> recycle(std::uint32_t slot) noexcept;

 private:
  inline io_queue(std::byte* base, std::uint32_t slots) noexcept : base_(base), slots_(slots) {}
  [[nodiscard]] inline std::byte* at(std::uint32_t slot) const noexcept {
    return base_ + std::size_t{slot} * abi::io_slot_bytes;
  }
  [[nodiscard]] result<void> expect(std::uint32_t slot, io_status wanted) const noexcept;

  std::byte* base_;
  std::uint32_t slots_;
};

}  // namespace megakernel
