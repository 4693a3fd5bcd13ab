// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The replies of the process that drives a GPU; the socket is main.cpp's.
#pragma once

#include <megakernel/gpu/messages.h>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace megakernel::gpu::host {

/// Memory of the library's process, mapped here. Unmapped never: a kernel may be using it.
struct mapped {
  unsigned char* at = nullptr;
  std::uint64_t bytes = 0;
};

/// Maps all of a file that its sender cannot make shorter: a kernel, or this process, that reads
/// behind its end would be gone. Null where it is none such.
[[nodiscard]] mapped map_shared(int descriptor) noexcept;

/// Answers questions one by one:
///
///     fresh -> open -> opened -> start -> started
///
/// Anything that is not exactly a question that may be asked now ends the conversation.
class server {
 public:
  /// The plugin's name in sentences, and the files that it may be; see `load_plugin`.
  server(std::string name, std::vector<std::string> files)
      : name_(std::move(name)), files_(std::move(files)) {}
  /// With a plugin that is loaded already.
  explicit server(const interface& calls) : calls_(&calls) {}

  /// The answer to `question`, which brought `descriptor`, or less than 0: it is closed. Empty:
  /// there is none, and no other question will have one.
  [[nodiscard]] std::span<const unsigned char> answer_to(std::span<const unsigned char> question,
                                                         int descriptor);

 private:
  enum class state { fresh, opened, started, over };

  template <class Call, class Serve>
  bool served(std::span<const unsigned char> question, state when, Serve serve);
  call_status open(messages::open::reported& reported);
  call_status upload(const messages::upload::asked& asked, messages::upload::reported& reported,
                     failure& why);
  call_status scan(const messages::scan::asked& asked, int descriptor,
                   messages::scan::reported& reported, failure& why);
  call_status start(const messages::start::asked& asked, int descriptor,
                    messages::start::reported& reported, failure& why);
  bool any(std::span<const unsigned char> question, int descriptor);

  std::string name_;
  std::vector<std::string> files_;
  const interface* calls_ = nullptr;
  kernel* kernel_ = nullptr;
  word slots_ = 0;          ///< of the kernel's ring
  std::uint32_t room_ = 0;  ///< for ranges, by the last reply
  state state_ = state::fresh;
  bool impossible_ = false;  ///< a question that no library asks
  std::size_t size_ = 0;
  alignas(8) std::array<unsigned char, messages::most_bytes> reply_{};
};

}  // namespace megakernel::gpu::host
