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

answer server::open(messages::open::told& told) {
  state_ = state::opened;
  if (calls_ == nullptr) {
    const loaded found = load_component(name_, files_);
    if (found.calls == nullptr) {
      std::snprintf(told.why_not, sizeof told.why_not, "%s", found.why_not.c_str());
      state_ = state::over;
      return answer::no_gpu;
    }
    calls_ = found.calls;
  }
  reason why{};
  return calls_->look(calls_->context, &told.found, &why);
}

answer server::start(const messages::start::asked& asked, int descriptor,
                     messages::start::told& told, reason& why) {
  request wanted{};
  impossible_ =
      descriptor < 0 || asked.by_priority > 1 || asked.one_shot > 1 || asked.ring_on_card > 1;
  if (impossible_) return answer::failed;
  const mapped memory = map_shared(descriptor);
  impossible_ = memory.at == nullptr ||
                !messages::from_places(asked.where, memory.at, memory.bytes, wanted.where);
  if (impossible_) {
    if (memory.at != nullptr) ::munmap(memory.at, memory.bytes);
    return answer::failed;
  }
  wanted.quantum = asked.quantum;
  wanted.lanes = asked.lanes;
  wanted.by_priority = asked.by_priority;
  wanted.one_shot = asked.one_shot;
  wanted.ring_on_card = asked.ring_on_card;
  slots_ = wanted.where.slots;
  wanted.memory = {memory.at, memory.bytes, descriptor};
  state_ = state::started;
  std::uint32_t lanes = 0;
  const answer how = calls_->start(calls_->context, &wanted, &kernel_, &lanes, &why);
  told.lanes = lanes;
  if (how != answer::yes) state_ = state::over;
  return how;
}

answer server::carry(const messages::carry::asked& asked, messages::carry::told& told,
                     reason& why) {
  impossible_ = asked.zero != 0 || asked.count > room_;
  for (std::uint32_t i = 0; i < most_runs && !impossible_; ++i) {
    const auto [first, count] = asked.runs[i];
    impossible_ = i < asked.count ? count == 0 || first >= slots_ || count > slots_ - first
                                  : first != 0 || count != 0;
  }
  if (impossible_) return answer::failed;
  const answer how = calls_->carry(kernel_, asked.runs, asked.count, &room_, &why);
  room_ = std::min(room_, most_runs);
  told.room = room_;
  return how;
}

answer server::scan(const messages::scan::asked& asked, int descriptor, messages::scan::told& told,
                    reason& why) {
  impossible_ = descriptor < 0 || asked.zero != 0 || !is_valid(asked.what);
  if (impossible_) return answer::failed;
  const mapped to = map_shared(descriptor);
  impossible_ = to.at == nullptr;
  if (impossible_) return answer::failed;
  const scan_request wanted{asked.what, asked.patience};
  const answer how = calls_->scan(kernel_, &wanted, to.at, to.bytes, &told.bytes, &why);
  ::munmap(to.at, to.bytes);
  told.busy = how == answer::busy;
  return how == answer::busy ? answer::yes : how;
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
      return served<messages::open>(question, state::fresh, [&](auto& asked, auto& told, auto&) {
        return nothing_in(asked) ? open(told) : answer::failed;
      });
    case call::start:
      return served<messages::start>(
          question, state::opened,
          [&](auto& asked, auto& told, auto& why) { return start(asked, descriptor, told, why); });
    case call::running:
      return served<messages::running>(
          question, state::started, [&](auto& asked, auto& told, auto& why) {
            std::uint32_t lanes = 0;
            const answer how =
                nothing_in(asked) ? calls_->running(kernel_, &lanes, &why) : answer::failed;
            told.lanes = lanes;
            return how;
          });
    case call::ask_flush:
      return served<messages::ask_flush>(question, state::started,
                                         [&](auto& asked, auto& told, auto&) {
                                           if (!nothing_in(asked)) return answer::failed;
                                           told.number = calls_->ask_flush(kernel_);
                                           return answer::yes;
                                         });
    case call::flushed:
      return served<messages::flushed>(
          question, state::started, [&](auto& asked, auto& told, auto&) {
            if ((impossible_ = asked.number > 0xFFFF'FFFFu)) return answer::failed;
            told.yes = calls_->flushed(kernel_, static_cast<std::uint32_t>(asked.number));
            return answer::yes;
          });
    case call::leave:
      return served<messages::leave>(question, state::started, [&](auto& asked, auto&, auto&) {
        if (!nothing_in(asked)) return answer::failed;
        calls_->leave(kernel_);
        return answer::yes;
      });
    case call::carry:
      return served<messages::carry>(
          question, state::started,
          [&](auto& asked, auto& told, auto& why) { return carry(asked, told, why); });
    case call::scan:
      return served<messages::scan>(
          question, state::started,
          [&](auto& asked, auto& told, auto& why) { return scan(asked, descriptor, told, why); });
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
