// SPDX-License-Identifier: Apache-2.0
#pragma once
// The machinery of streams: the frame of a generator, which rests at its co_yield between two steps, and what steps and closes it.

#include <belay/core/detail/runtime.hpp>
#include <belay/core/task.hpp>
#include <source_location>

namespace belay::detail {

class stream_core;

[[noreturn]] void abort_on_empty_stream() noexcept;

// The frame of a generator. While it is stepped it is the child of whoever awaits `next`; at its co_yield it hangs on nobody's stack, and
// belongs to `reader`. It rests there with all it has: locals and resources of `use`, but no scope, for scopes are opened by functions
// that take a task, and a task cannot yield to somebody else's consumer.
struct stream_frame : frame {
  stream_core* reader = nullptr;  // told when this frame goes
  bool begun = false;
  bool given_away = false;  // the item was a temporary, which the consumer may take

  stream_frame() noexcept = default;
  stream_frame(const stream_frame&) = delete;
  stream_frame& operator=(const stream_frame&) = delete;
  ~stream_frame();

  [[nodiscard]] bool rests() const noexcept { return at_yield || !begun; }
};

enum class stream_end : unsigned char {
  open,      // there is a generator
  complete,  // it returned, or its error was delivered
  cut,       // a cancellation unwound it while somebody was in `next`
  closed,
};

// The reader's side, without the type of the items. States: the generator rests (`open`, rests()), is being stepped by a task (`open`, not
// rests()), or is gone, and `end_` says how. Loop thread only.
class stream_core {
 public:
  explicit stream_core(stream_frame& generator) noexcept : generator_(&generator), home_(this_runtime) {
    generator.reader = this;
  }
  stream_core(const stream_core&) = delete;
  stream_core& operator=(const stream_core&) = delete;
  ~stream_core();

  // The generator, to be stepped. Null: there is no more. Errors: misuse_error; child_cancelled when it was cut short.
  [[nodiscard]] stream_frame* to_step(std::source_location where) const {
    if (generator_ != nullptr && generator_->rests() && home_ == this_runtime) [[likely]]
      return generator_;
    return nothing_to_step(where);
  }
  // Its error has been delivered: there is no more.
  void error_came_out() noexcept { end_ = stream_end::complete; }
  void generator_gone(const stream_frame& was) noexcept;

  // Lets it go, to be closed. Null: there is nothing to close. Errors: misuse_error while it is being stepped.
  [[nodiscard]] stream_frame* to_close(std::source_location where);
  [[nodiscard]] bool ended() const noexcept { return generator_ == nullptr; }

 protected:
  [[nodiscard]] stream_frame* generator() const noexcept { return generator_; }

 private:
  [[nodiscard]] stream_frame* nothing_to_step(std::source_location where) const;

  stream_frame* generator_;
  runtime* home_;
  cancel_record cut_by_;
  stream_end end_ = stream_end::open;
};

inline stream_frame::~stream_frame() {
  if (reader != nullptr) reader->generator_gone(*this);
}

// Lets a resting generator run up to its next co_yield or its end, on behalf of `parent`; see await_frame.
[[gnu::always_inline]] inline bool step_stream(frame& parent, stream_frame& generator,
                                               outcome_base& result) noexcept {
  if (!generator.begun) [[unlikely]] {
    generator.begun = true;
    return await_frame(parent, generator, result, delivery::plain);
  }
  runtime& rt = *this_runtime;
  generator.parent = &parent;
  generator.result = &result;
  generator.at_yield = false;
  if (stack_is_deep(rt)) [[unlikely]] {
    generator.state = progress::waiting;
    rt.next(step::resume, generator);
    return true;
  }
  generator.state = progress::nested;
  generator.handle.resume();
  if (generator.state != progress::done) {
    generator.state = progress::waiting;
    return true;
  }
  if (generator.at_yield) return false;
  generator.handle.destroy();
  if (result.how() != ending::value) [[unlikely]]
    return pass_on_failure(parent, result, delivery::plain);
  return false;
}

// The generator has an item in its result, and rests.
inline void stream_yielded(stream_frame& generator) noexcept {
  generator.at_yield = true;
  if (generator.state == progress::nested) {
    generator.state = progress::done;
  } else {
    this_runtime->next(step::resume, *generator.parent);
  }
}

// Unwinds a resting generator as cancelled: closes its resources, destroys its locals.
class [[nodiscard("a stream is closed when this is awaited")]] close_stream_awaiter {
 public:
  using belay_awaiter_tag = void;
  // `how` is what the consumer ended with; its record or failure is told to the resources of the generator.
  close_stream_awaiter(stream_core& of, exit_status how, std::source_location where) noexcept
      : of_(&of), how_(std::move(how)), where_(where) {}
  close_stream_awaiter(const close_stream_awaiter&) = delete;
  close_stream_awaiter& operator=(const close_stream_awaiter&) = delete;
  ~close_stream_awaiter() = default;
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> closing) {
    return begin(closing.promise());
  }
  void await_resume() {
    if (result_.how() == ending::failed) [[unlikely]]
      rethrow_record(result_.failed_with().take_record());
  }

 private:
  // False: there was nothing to wait for. Errors: misuse_error.
  bool begin(frame& closing);

  stream_core* of_;
  exit_status how_;
  std::source_location where_;
  outcome<void> result_;
};

}  // namespace belay::detail
