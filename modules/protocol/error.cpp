// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
module;
#include <array>
#include <charconv>
#include <cstdint>
#include <span>
#include <string_view>
module megakernel.protocol;

namespace megakernel {
namespace {

/// A sentence's template: {found}, {bound} and {index} stand for the fields of `error`, {subject}
/// for its subject, {side} for the side of the bound the value should be on.
struct description {
  std::string_view name;
  std::string_view sentence;
};

/// The sentence of `deadline_passed` where it is known what was waited for.
constexpr std::string_view waited_for(buffer where) noexcept {
  switch (where) {
    case buffer::ring:
      return "Slot {index} still had status {found} when the wait ended. Wait longer, or look why "
             "it does not move: its tenant may have no mask or token, or its handler be slow.";
    case buffer::control:
      return "Control word {index} stood at {found} when the wait ended, not yet at {bound}. Wait "
             "longer, or look whether the kernel still passes.";
    case buffer::none:
      return "{found} lanes had not left when the wait ended: they are inside handlers. Wait "
             "longer, or find the slots that stay CLAIMED.";
    default:
      return {};
  }
}

constexpr description describe(error_code code) noexcept {
  switch (code) {
    using enum error_code;
    case control_too_short:
      return {"control_too_short",
              "The control buffer has {found} bytes but needs at least {bound}. Copy the whole "
              "control buffer back from the device, from its first word."};
    case control_misaligned:
      return {"control_misaligned",
              "The control buffer has {found} bytes, which is not a whole number of 4-byte words. "
              "The copy was cut short: copy it again."};
    case control_missing_word:
      return {"control_missing_word",
              "Control word {index} was asked for, but the buffer has only {bound} words. Copy "
              "more of the control buffer, or ask for a word it has."};
    case observable_index_overflow:
      return {"observable_index_overflow",
              "Observable word {found} does not exist in any control buffer: the largest index is "
              "{bound}. Ask for a smaller one."};
    case observable_slots_too_large:
      return {"observable_slots_too_large",
              "{found} observable words were asked for, but the encoder makes at most {bound}. "
              "Split the results over several control buffers."};
    case ring_partial_slot:
      return {"ring_partial_slot",
              "The ring has {found} bytes, which is not a whole number of {bound}-byte slots. The "
              "copy was cut short or starts in the wrong place: copy whole slots."};
    case ring_misaligned:
      return {"ring_misaligned",
              "The ring has {found} bytes, which is not a whole number of 4-byte words. The copy "
              "was cut short: copy it again."};
    case ring_too_short:
      return {"ring_too_short",
              "The ring has {bound} whole slots, but {found} were to be looked at. Copy more of "
              "the ring, or ask for fewer slots."};
    case ring_too_large:
      return {"ring_too_large",
              "The ring has {found} slots, but at most {bound} can be numbered. Decode it in "
              "parts."};
    case slot_count_too_large:
      return {"slot_count_too_large",
              "A ring of {found} slots was asked for, but the encoder makes at most {bound}. Split "
              "the work over several rings."};
    case slot_out_of_range:
      return {"slot_out_of_range",
              "Slot {found} was addressed, but the ring has only {bound} slots. Use a smaller "
              "index or a larger ring."};
    case slot_index_overflow:
      return {
          "slot_index_overflow",
          "{found} slots starting at slot {index} would end past {bound}, where slot numbers do. "
          "Start lower or publish fewer at a time."};
    case slot_not_publishable:
      return {"slot_not_publishable",
              "Slot {index} has status {found}, so it still belongs to the kernel. Only EMPTY (0) "
              "and DONE (3) slots may be written: wait for it, or use another slot."};
    case too_many_args:
      return {"too_many_args",
              "Entry {index} has {found} arguments, but a slot holds {bound}. Pass a handle to the "
              "rest through device memory."};
    case opcode_reserved:
      return {"opcode_reserved",
              "Entry {index} has opcode {found}, which the protocol keeps for itself. Publish a "
              "built-in opcode or one of your own: 8 to 2147483647 outside 65520 to 65535."};
    case priority_out_of_range:
      return {"priority_out_of_range",
              "Entry {index} has priority {found}, but the lowest priority is {bound} (IDLE). Use "
              "0 (CRITICAL) to {bound}."};
    case packed_too_many_ops:
      return {"packed_too_many_ops",
              "A packed slot was given {found} inner operations, but its count has one byte: at "
              "most {bound}. Split it over several slots."};
    case packed_metadata_too_large:
      return {"packed_metadata_too_large",
              "The opcode table of a packed slot takes {found} words, but a slot has {bound}. "
              "Split it over several slots."};
    case packed_payload_too_large:
      return {"packed_payload_too_large",
              "The opcode table and arguments of a packed slot take {found} words or more, but a "
              "slot has {bound}. Split it over several slots."};
    case packed_malformed:
      return {"packed_malformed",
              "Inner operation {index} of a packed slot points at argument {found}, but the slot "
              "holds {bound}. The slot was not written by this protocol, or was read torn."};
    case window_payload_too_large:
      return {"window_payload_too_large",
              "Window entry {index} has {found} payload words, but only {bound} fit beside ticket "
              "and class. Pass a handle to the rest through device memory."};
    case batch_out_of_range:
      return {"batch_out_of_range",
              "{found} slots starting at slot {index} do not fit in a ring of {bound}. Start "
              "lower, publish fewer at a time, or use a larger ring."};
    case work_items_exceed_slot_count:
      return {"work_items_exceed_slot_count",
              "{found} work items do not fit in a ring of {bound} slots. Use a larger ring or "
              "publish in parts."};
    case item_count_overflow:
      return {"item_count_overflow",
              "{found} slots were to be looked at, which is more than any ring can have. Pass the "
              "number of slots that were published."};
    case record_capacity_too_large:
      return {"record_capacity_too_large",
              "A debug log of {found} records was asked for, but the encoder makes at most "
              "{bound}. Use a smaller log and drain it more often."};
    case debug_log_misaligned:
      return {"debug_log_misaligned",
              "The debug log has {found} bytes, which is not a whole number of 4-byte words. The "
              "copy was cut short: copy it again."};
    case debug_log_too_short:
      return {"debug_log_too_short",
              "The debug log has {found} bytes, too few for its cursor, which takes {bound}. Copy "
              "the whole log back from the device."};
    case debug_log_cursor_out_of_range:
      return {"debug_log_cursor_out_of_range",
              "The debug log's cursor stands at word {found}, past the log's end at {bound}. The "
              "kernel dropped records, or the cursor is damaged; whole records can still be "
              "recovered."};
    case debug_log_cursor_partial_record:
      return {"debug_log_cursor_partial_record",
              "The debug log's cursor stands at word {found}, inside a record of {bound} words. It "
              "was read while the kernel wrote it, or is damaged: copy it again."};
    case io_queue_partial_slot:
      return {"io_queue_partial_slot",
              "The IO queue has {found} bytes, which is not a whole number of {bound}-byte slots. "
              "Copy or map the whole queue."};
    case io_queue_too_large:
      return {"io_queue_too_large",
              "The IO queue has {found} slots, but at most {bound} are allowed. Use a shorter "
              "queue."};
    case io_slot_out_of_range:
      return {"io_slot_out_of_range",
              "IO slot {found} was addressed, but the queue has only {bound} slots. Use a smaller "
              "index."};
    case io_slot_wrong_status:
      return {"io_slot_wrong_status",
              "IO slot {index} has status {found}, but this step needs {bound}. Requests go "
              "through publish, claim, complete and recycle in that order."};
    case io_operation_unknown:
      return {"io_operation_unknown",
              "IO slot {index} asks for operation {found}, which does not exist. Use READ (1), "
              "WRITE (2) or FENCE (3)."};
    case io_completion_repeated:
      return {"io_completion_repeated",
              "IO slot {found} stands twice in one list of completions, the second time at entry "
              "{index}. Complete each request once."};
    case buffer_unaligned:
      return {"buffer_unaligned",
              "The buffer starts at an address that is {found} bytes past a multiple of {bound}. "
              "Words shared with a kernel must be aligned: allocate it with byte_buffer or "
              "aligned_alloc."};
    case done_count_regressed:
      return {"done_count_regressed",
              "The done count fell from {bound} to {found}. The two snapshots are of different "
              "launches or in the wrong order: compare snapshots of one launch, older first."};
    case clock_regressed:
      return {"clock_regressed",
              "A snapshot is stamped {found} ns, before the previous one at {bound} ns. Stamp "
              "snapshots with a clock that never goes back."};
    case ring_resized:
      return {"ring_resized",
              "The ring has {found} slots, but the one watched so far had {bound}. Start a new "
              "tracker for a new ring."};
    case out_of_memory:
      return {"out_of_memory",
              "There is no memory for {found} elements of {bound} bytes. Free some, or decode in "
              "smaller parts."};
    case sketch_dim_zero:
      return {"sketch_dim_zero",
              "The sketch has {found} rows and {bound} columns, but it needs at least one of each. "
              "Give it a shape of at least 1 by 1."};
    case sketch_dim_overflow:
      return {"sketch_dim_overflow",
              "A sketch of {found} rows by {bound} columns was asked for, but no more than {index} "
              "counters can be numbered. Use fewer rows or columns."};
    case sketch_accuracy_invalid:
      return {"sketch_accuracy_invalid",
              "No shape has the wanted accuracy. The error share epsilon must be finite and above "
              "0, its chance delta above 0 and below 1."};
    case sketch_counter_overflow:
      return {"sketch_counter_overflow",
              "Adding {found} to key {index} would take a counter that stands at {bound} past "
              "18446744073709551615. Nothing was added: keep this sketch and start a new one."};
    case sketch_shape_mismatch:
      return {"sketch_shape_mismatch",
              "The sketch to merge has {found} rows or columns where this one has {bound}. Only "
              "sketches of one shape can be merged: build both with the same depth and width."};
    case sketch_merge_overflow:
      return {"sketch_merge_overflow",
              "Merging would add {found} to counter {index}, which stands at {bound}, and pass "
              "18446744073709551615. Nothing was merged: keep the two sketches apart."};
    case sketch_bytes_truncated:
      return {"sketch_bytes_truncated",
              "The sketch has {found} bytes, but its header says {bound}. The copy was cut short: "
              "copy all of it."};
    case sketch_bytes_trailing:
      return {"sketch_bytes_trailing",
              "The sketch has {found} bytes, but its header says that it ends after {bound}. Pass "
              "the bytes of one sketch and nothing else."};
    case sketch_bytes_foreign:
      return {"sketch_bytes_foreign",
              "The bytes do not start with the mark of a sketch. They are something else, or start "
              "in the wrong place."};
    case sketch_version_unknown:
      return {"sketch_version_unknown",
              "The sketch is written in version {found} of the format, but this library reads "
              "version {bound}. Use a library that reads both, or write it again."};
    case sketch_kind_mismatch:
      return {"sketch_kind_mismatch",
              "The bytes hold a sketch of kind {found}, but kind {bound} was asked for: 1 is one "
              "Count-Min sketch, 2 those of a ring's telemetry. Read it as what it is."};
    case sketch_hash_unknown:
      return {"sketch_hash_unknown",
              "The sketch's hash is not splitmix64 with seed {bound}; it names seed {found}. Its "
              "counters "
              "mean nothing here: build it with this library's hash."};
    case sketch_checksum_mismatch:
      return {"sketch_checksum_mismatch",
              "The sketch's bytes have the checksum {found}, but {bound} was written with them. "
              "They were damaged on the way: copy them again."};
    case sketch_row_sum_mismatch:
      return {"sketch_row_sum_mismatch",
              "Row {index} of the sketch sums to {found} instead of {bound}. Whatever wrote it was "
              "wrong or hostile: do not use it."};
    case limit_zero:
      return {"limit_zero",
              "The adapter limit {subject} is 0, which no adapter has. Pass the limits the device "
              "reports."};
    case hit_capacity_overflow:
      return {
          "hit_capacity_overflow",
          "{index} queued items with {found} expected hits each, times {bound}, need room for "
          "more than 4294967295 hits. Launch fewer items at a time, or request a hit capacity."};
    case peak_bytes_overflow:
      return {"peak_bytes_overflow",
              "{found} resident bytes and {bound} bytes for hits do not add up in 64 bits. Check "
              "the resident bytes: no device has as many."};
    case device_out_of_memory:
      return {"device_out_of_memory",
              "The launch needs {found} bytes of device memory, but its budget is {bound}. Launch "
              "fewer items at a time, request a smaller hit capacity, or free resident buffers."};
    case requeue_count_overflow:
      return {"requeue_count_overflow",
              "{found} requeues so far and {bound} more do not fit 64 bits. Start the count again "
              "after each launch."};
    case aged_promotions_overflow:
      return {"aged_promotions_overflow",
              "{found} promotions so far and {bound} more do not fit 64 bits. Start the count "
              "again after each launch."};
    case queue_len_overflow:
      return {"queue_len_overflow",
              "{found} work items were to be launched, but a ring numbers at most {bound}. Split "
              "them over several launches."};
    case padded_slots_overflow:
      return {"padded_slots_overflow",
              "{found} work items in whole workgroups of {index} lanes need more slots than can be "
              "numbered; {bound} is the most. Launch fewer items, or use narrower workgroups."};
    case policy_out_of_range:
      return {"policy_out_of_range",
              "The policy's {subject} is {found}, but must be {side} {bound}. Change it, or the "
              "parameter that bounds it."};
    case slot_count_zero:
      return {"slot_count_zero",
              "A ring of {found} slots cannot take work. Give it at least {bound}."};
    case ring_full:
      return {"ring_full",
              "There is no free run of {found} where this work goes: {bound} slots there are "
              "{subject}, more than of any other kind. Wait with a deadline, publish less at a "
              "time, or use a larger ring."};
    case feed_closed:
      return {"feed_closed",
              "The queue was closed: the kernel is being drained or has stopped. Publish to a new "
              "runtime."};
    case deadline_passed:
      return {"deadline_passed",
              "The wait ended before what it was for. Wait longer, or look why it does not move."};
    case worker_count_out_of_range:
      return {"worker_count_out_of_range",
              "{found} workers were asked for, but 1 to {bound} are possible. Use about as many as "
              "there are cores."};
    case already_launched:
      return {"already_launched",
              "This target has been launched already. Make a new one for another launch."};
    case lanes_refused:
      return {
          "lanes_refused",
          "The launch needs {found} threads, but the system started only {bound}. Use fewer, or "
          "raise the limit on threads."};
    case resource_repeated:
      return {"resource_repeated",
              "Resource {index} was added before. Give each resource a number of its own."};
    case resource_unreadable:
      return {"resource_unreadable",
              "The file of resource {index} could not be opened as a regular file; the system's "
              "error number is {found}. Check its path and permissions."};
    case arena_out_of_range:
      return {"arena_out_of_range",
              "{found} bytes of resource {index} do not fit where they should go in an arena of "
              "{bound} bytes. Make the arena larger, or place the resource lower."};
    case device_failed:
      return {"device_failed",
              "The GPU refused a call or was lost; its runtime's error number is {found}, 0 where "
              "only its process has ended. What it had not finished is not run. Make a new "
              "runtime, on another target if it fails again."};
    case device_lanes_refused:
      return {"device_lanes_refused",
              "{found} lanes were asked for, but the GPU has no more than {bound} at once. Use "
              "fewer."};
    case digest_foreign:
      return {
          "digest_foreign",
          "Word {index} of the ring's digest is {found} instead of {bound}: it is no digest, or "
          "one of another version. Build kernels and library from one version."};
    case digest_wrong_size:
      return {"digest_wrong_size",
              "The ring's digest has {found} bytes, but what it says of itself takes {bound}. It "
              "was cut short or damaged: make it again."};
    case digest_inconsistent:
      return {"digest_inconsistent",
              "Word {index} of the ring's digest amounts to {found}, where the rest of it allows "
              "{bound}. Whatever made it was wrong or hostile: do not use it."};
    case memory_not_shared:
      return {
          "memory_not_shared",
          "A GPU in a process of its own needs buffers that this process can share. Ask for them "
          "in the layout; if that was done, the system refused with error number {found}."};
  }
  return {"unknown_error", "An error without a code was reported. Please report how you got it."};
}

}  // namespace

std::string_view to_string(error_code code) noexcept { return describe(code).name; }

std::string_view to_string(buffer which) noexcept {
  switch (which) {
    case buffer::none:
      return "";
    case buffer::control:
      return "control buffer";
    case buffer::ring:
      return "ring";
    case buffer::debug_log:
      return "debug log";
    case buffer::io_queue:
      return "IO queue";
    case buffer::sketch:
      return "sketch";
    case buffer::digest:
      return "digest";
  }
  return "";
}

std::string_view error::subject() const noexcept {
  // As `adapter_limit` and `policy_parameter` number them.
  static constexpr std::array<std::string_view, 3> limits{"max_workgroup_size_x",
                                                          "max_compute_workgroups_per_dimension",
                                                          "max_compute_invocations_per_workgroup"};
  static constexpr std::array<std::string_view, 11> parameters{"default_workers",
                                                               "occupancy_divisor",
                                                               "max_dispatch_groups",
                                                               "powerful_worker_groups",
                                                               "hit_capacity_multiplier",
                                                               "saturated_waves",
                                                               "dense_bps",
                                                               "sparse_bps",
                                                               "frontier_hysteresis_bps",
                                                               "memory_pressure_bps",
                                                               "memory_hysteresis_bps"};
  // Of those that occupy a slot; then what has no status to tell it by.
  static constexpr std::array<std::string_view, 9> occupants{
      "being written", "PUBLISHED", "CLAIMED",          "DONE", "WAIT_IO", "YIELD",
      "REQUEUE",       "FAULT",     "of unknown status"};
  std::span<const std::string_view> names;
  if (code == error_code::ring_full) names = occupants;
  if (code == error_code::limit_zero) names = limits;
  if (code == error_code::policy_out_of_range) names = parameters;
  return index < names.size() ? names[index] : std::string_view();
}

error_message error::message() const noexcept {
  error_message out;
  const auto append = [&out](std::string_view text) {
    out.size_ += text.copy(out.text_.data() + out.size_, out.text_.size() - out.size_);
  };
  const auto append_number = [&append](std::uint64_t value) {
    std::array<char, 20> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    append({digits.data(), static_cast<std::size_t>(end - digits.data())});
  };
  std::string_view rest = code == error_code::deadline_passed ? waited_for(buffer) : "";
  if (rest.empty()) rest = describe(code).sentence;
  while (!rest.empty()) {
    const std::size_t open = rest.find('{');
    append(rest.substr(0, open));
    if (open == std::string_view::npos) break;
    const std::size_t close = rest.find('}', open);
    const std::string_view field = rest.substr(open + 1, close - open - 1);
    if (field == "subject") {
      append(subject());
    } else if (field == "side") {
      append(found < bound ? "at least" : "at most");
    } else {
      append_number(field == "found" ? found : field == "bound" ? bound : index);
    }
    rest.remove_prefix(close + 1);
  }
  return out;
}

}  // namespace megakernel
