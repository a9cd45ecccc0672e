// SPDX-License-Identifier: Apache-2.0
// How streams end, and how they are misused.

#include <belay/core/detail/stream_frame.hpp>
#include <belay/core/error.hpp>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace belay::detail {

void abort_on_empty_stream() noexcept {
  std::fputs("belay: a stream was opened that was already opened or moved from\n", stderr);
  std::abort();
}

stream_core::~stream_core() {
  if (generator_ == nullptr) return;
  if (!generator_->rests()) {
    std::fputs("belay: a stream was closed while a task waits in its next(); that task must end before\n",
               stderr);
    std::abort();
  }
  // Nobody can be waited for here: what it opened stays open. What the destructor of a local throws goes to the sink.
  stream_frame& left = *generator_;
  outcome<void> last;
  left.reader = nullptr;
  left.cleanups = nullptr;
  left.result = &last;
  left.parent = &left;  // nested in this call
  left.state = progress::nested;
  left.handle.destroy();
  if (left.state == progress::done) left.handle.destroy();
}

void stream_core::generator_gone(const stream_frame& was) noexcept {
  generator_ = nullptr;
  const ending how = was.result->how();
  if (how == ending::value || how == ending::failed) {
    end_ = stream_end::complete;
  } else {
    end_ = stream_end::cut;
    if (how == ending::cancelled) cut_by_ = was.result->cancelled_by();
  }
}

stream_frame* stream_core::nothing_to_step(std::source_location where) const {
  if (home_ != this_runtime) {
    throw misuse_error("open_stream::next: called from a thread that is not the stream's", where);
  }
  if (generator_ != nullptr) {
    throw misuse_error(
        "open_stream::next: another task is in next() of this stream; give each task a stream of its own, or "
        "share a channel",
        where);
  }
  switch (end_) {
    case stream_end::closed: throw misuse_error("open_stream::next: the stream was closed", where);
    case stream_end::cut: {
      std::string text = "the stream was cut short, while somebody waited in next()";
      if (cut_by_) text += ": " + describe(cut_by_);
      throw child_cancelled(std::move(text), where);
    }
    case stream_end::complete:
    case stream_end::open: break;
  }
  return nullptr;
}

stream_frame* stream_core::to_close(std::source_location where) {
  if (home_ != this_runtime) {
    throw misuse_error("open_stream::close: called from a thread that is not the stream's", where);
  }
  if (generator_ != nullptr && !generator_->rests()) {
    throw misuse_error("open_stream::close: a task is in next() of this stream", where);
  }
  end_ = stream_end::closed;
  stream_frame* const closing = std::exchange(generator_, nullptr);
  if (closing != nullptr) closing->reader = nullptr;
  return closing;
}

bool close_stream_awaiter::begin(frame& closing) {
  stream_frame* const generator = of_->to_close(where_);
  if (generator == nullptr) return false;
  cancel_record record = how_.cancellation();
  if (!record && generator->cleanups != nullptr) {  // who else would ask?
    try {
      record = cancel_record::make(cancel_reason::caller, "the end of its consumer", where_, how_.failure());
    } catch (const std::bad_alloc&) {
      // Without memory its resources are not told why; they are closed all the same.
    }
  }
  result_.set_cancelled(record.shared());
  generator->parent = &closing;
  generator->result = &result_;
  generator->how = delivery::intercept;
  generator->state = progress::waiting;
  generator->at_yield = false;
  this_runtime->next(step::settle, *generator);
  return true;
}

}  // namespace belay::detail
