// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "server.h"

#include <fcntl.h>
#include <megakernel/gpu/loading.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace megakernel::gpu::host {

mapped map_shared(int descriptor) noexcept {
  const int seals = ::fcntl(descriptor, F_GET_SEALS);
  struct stat status{};
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || ::fstat(descriptor, &status) != 0 ||
      status.st_size <= 0)
    return {};
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (at == MAP_FAILED) return {};
  return {static_cast<unsigned char*>(at), bytes};
}

template <class Call, class Serve>
bool server::served(std::span<const unsigned char> question, state when, Serve serve) {
  messages::question<Call> asked;
  if (state_ != when || !messages::decode(question.data(), question.size(), asked)) return false;
  messages::reply<Call> reply{};
  reply.head = asked.head;
  reply.how = static_cast<std::uint32_t>(serve(asked.body, reply.body, reply.why));
  if (impossible_) return false;
  reply.why.sentence[sizeof reply.why.sentence - 1] = '\0';
  std::memcpy(reply_.data(), &reply, size_ = sizeof reply);
  return true;
}

call_status server::open(messages::open::reported& reported) {
  state_ = state::opened;
  if (calls_ == nullptr) {
    const loaded found = load_plugin(name_, files_);
    if (found.calls == nullptr) {
      std::snprintf(reported.why_not, sizeof reported.why_not, "%s", found.why_not.c_str());
      state_ = state::over;
      return call_status::no_gpu;
    }
    calls_ = found.calls;
  }
  failure why{};
  return calls_->probe(calls_->context, &reported.found, &why);
}

call_status server::start(const messages::start::asked& asked, int descriptor,
                          messages::start::reported& reported, failure& why) {
  request wanted{};
  impossible_ =
      descriptor < 0 || asked.by_priority > 1 || asked.one_shot > 1 || asked.device_ring > 1;
  if (impossible_) return call_status::failed;
  const mapped memory = map_shared(descriptor);
  impossible_ = memory.at == nullptr ||
                !messages::from_places(asked.where, memory.at, memory.bytes, wanted.where);
  if (impossible_) {
    if (memory.at != nullptr) ::munmap(memory.at, memory.bytes);
    return call_status::failed;
  }
  wanted.quantum = asked.quantum;
  wanted.lanes = asked.lanes;
  wanted.by_priority = asked.by_priority;
  wanted.one_shot = asked.one_shot;
  wanted.device_ring = asked.device_ring;
  slots_ = wanted.where.slots;
  wanted.memory = {memory.at, memory.bytes, descriptor};
  state_ = state::started;
  std::uint32_t lanes = 0;
  const call_status how = calls_->start(calls_->context, &wanted, &kernel_, &lanes, &why);
  reported.lanes = lanes;
  if (how != call_status::yes) state_ = state::over;
  return how;
}

call_status server::upload(const messages::upload::asked& asked,
                           messages::upload::reported& reported, failure& why) {
  impossible_ = asked.zero != 0 || asked.count > room_;
  for (std::uint32_t i = 0; i < most_ranges && !impossible_; ++i) {
    const auto [first, count] = asked.ranges[i];
    impossible_ = i < asked.count ? count == 0 || first >= slots_ || count > slots_ - first
                                  : first != 0 || count != 0;
  }
  if (impossible_) return call_status::failed;
  const call_status how = calls_->upload(kernel_, asked.ranges, asked.count, &room_, &why);
  room_ = std::min(room_, most_ranges);
  reported.room = room_;
  return how;
}

call_status server::scan(const messages::scan::asked& asked, int descriptor,
                         messages::scan::reported& reported, failure& why) {
  impossible_ = descriptor < 0 || asked.zero != 0 || !is_valid(asked.what);
  if (impossible_) return call_status::failed;
  const mapped to = map_shared(descriptor);
  impossible_ = to.at == nullptr;
  if (impossible_) return call_status::failed;
  const scan_request wanted{asked.what, asked.timeout};
  const call_status how = calls_->scan(kernel_, &wanted, to.at, to.bytes, &reported.bytes, &why);
  ::munmap(to.at, to.bytes);
  reported.busy = how == call_status::busy;
  return how == call_status::busy ? call_status::yes : how;
}

bool server::any(std::span<const unsigned char> question, int descriptor) {
  using namespace messages;
  header head;
  if (question.size() < sizeof head) return false;
  std::memcpy(&head, question.data(), sizeof head);
  if (descriptor >= 0 && static_cast<call>(head.call) != call::start &&
      static_cast<call>(head.call) != call::scan)
    return false;
  const auto nothing_in = [this](const nothing& body) { return !(impossible_ = body.zero != 0); };
  switch (static_cast<call>(head.call)) {
    case call::open:
      return served<messages::open>(
          question, state::fresh, [&](auto& asked, auto& reported, auto&) {
            return nothing_in(asked) ? open(reported) : call_status::failed;
          });
    case call::start:
      return served<messages::start>(question, state::opened,
                                     [&](auto& asked, auto& reported, auto& why) {
                                       return start(asked, descriptor, reported, why);
                                     });
    case call::running:
      return served<messages::running>(
          question, state::started, [&](auto& asked, auto& reported, auto& why) {
            std::uint32_t lanes = 0;
            const call_status how =
                nothing_in(asked) ? calls_->running(kernel_, &lanes, &why) : call_status::failed;
            reported.lanes = lanes;
            return how;
          });
    case call::ask_flush:
      return served<messages::ask_flush>(question, state::started,
                                         [&](auto& asked, auto& reported, auto&) {
                                           if (!nothing_in(asked)) return call_status::failed;
                                           reported.number = calls_->ask_flush(kernel_);
                                           return call_status::yes;
                                         });
    case call::flushed:
      return served<messages::flushed>(
          question, state::started, [&](auto& asked, auto& reported, auto&) {
            if ((impossible_ = asked.number > 0xFFFF'FFFFu)) return call_status::failed;
            reported.yes = calls_->flushed(kernel_, static_cast<std::uint32_t>(asked.number));
            return call_status::yes;
          });
    case call::leave:
      return served<messages::leave>(question, state::started, [&](auto& asked, auto&, auto&) {
        if (!nothing_in(asked)) return call_status::failed;
        calls_->leave(kernel_);
        return call_status::yes;
      });
    case call::upload:
      return served<messages::upload>(
          question, state::started,
          [&](auto& asked, auto& reported, auto& why) { return upload(asked, reported, why); });
    case call::scan:
      return served<messages::scan>(question, state::started,
                                    [&](auto& asked, auto& reported, auto& why) {
                                      return scan(asked, descriptor, reported, why);
                                    });
  }
  return false;
}

std::span<const unsigned char> server::answer_to(std::span<const unsigned char> question,
                                                 int descriptor) {
  size_ = 0;
  const bool had_an_answer = any(question, descriptor);
  if (descriptor >= 0) ::close(descriptor);
  if (!had_an_answer) {
    state_ = state::over;
    return {};
  }
  return std::span(reply_).first(size_);
}

}  // namespace megakernel::gpu::host
