// SPDX-License-Identifier: Apache-2.0
// The error base, outcomes, and the record of cancellations.

#include <belay/core/cancel.hpp>
#include <belay/core/detail/runtime.hpp>
#include <belay/core/error.hpp>
#include <belay/core/outcome.hpp>

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

namespace belay {

struct error::contents {
  error_kind kind;
  std::string code;
  std::source_location where;
  failure replaced;
  time_point when;
  std::optional<duration> retry_after{};
  error_details details{};
};

namespace {
time_point now_here() noexcept {
  const detail::runtime* rt = detail::this_runtime;
  return (rt != nullptr && rt->time != nullptr ? *rt->time : steady_clock()).now();
}
}  // namespace

error::error(std::string message, std::source_location where)
    : error(error_kind::internal, {}, std::move(message), where) {}

error::error(error_kind kind, std::string code, std::string message, std::source_location where)
    : std::runtime_error(message),
      contents_(
          std::make_shared<contents>(contents{kind, std::move(code), where, current_failure(), now_here()})) {
  if (contents_->replaced) contents_->replaced.record()->below.store(true, std::memory_order_relaxed);
}

error::error(error_kind kind, std::string code, std::string message, error_details details,
             std::source_location where)
    : error(kind, std::move(code), std::move(message), where) {
  contents_->details = std::move(details);
}

error_kind error::kind() const noexcept { return contents_->kind; }
std::string_view error::code() const noexcept { return contents_->code; }
std::source_location error::where() const noexcept { return contents_->where; }
time_point error::when() const noexcept { return contents_->when; }
const error_details& error::details() const noexcept { return contents_->details; }
void error::add_detail(error_detail one) { own_contents().details.add(std::move(one)); }
std::optional<duration> error::retry_after() const noexcept { return contents_->retry_after; }
void error::set_retry_after(any_duration wait) {
  if (wait.value() < duration::zero()) throw misuse_error("error::set_retry_after: the duration is negative");
  own_contents().retry_after = wait;
}

namespace {

// The same exception may be on its way in several threads. Its cause is all that ever changes in it, and that hardly ever.
constinit std::mutex changing_causes;

}  // namespace

failure error::cause() const {
  const std::lock_guard lock(changing_causes);
  return contents_->replaced;
}

void detail::error_access::drop_cause(const error& from) noexcept {
  failure dropped;
  const std::lock_guard lock(changing_causes);
  std::swap(dropped, from.contents_->replaced);
}

void detail::error_access::set_cause(const error& of, failure cause) noexcept {
  if (cause) cause.record()->below.store(true, std::memory_order_relaxed);
  const std::lock_guard lock(changing_causes);
  std::swap(cause, of.contents_->replaced);
}

error::contents& error::own_contents() {
  if (contents_.use_count() > 1) {
    const std::lock_guard lock(changing_causes);
    contents_ = std::make_shared<contents>(*contents_);
  }
  // What a copy on another thread has read, before it went, was read before this changes it.
  std::atomic_thread_fence(std::memory_order_acquire);
  return *contents_;
}

std::string_view to_string(error_kind kind) noexcept {
  switch (kind) {
    case error_kind::invalid: return "invalid";
    case error_kind::not_found: return "not_found";
    case error_kind::conflict: return "conflict";
    case error_kind::denied: return "denied";
    case error_kind::unauthenticated: return "unauthenticated";
    case error_kind::unavailable: return "unavailable";
    case error_kind::overloaded: return "overloaded";
    case error_kind::timed_out: return "timed_out";
    case error_kind::child_cancelled: return "child_cancelled";
    case error_kind::data_format: return "data_format";
    case error_kind::internal: return "internal";
  }
  return "internal";
}

std::string_view to_string(completion how) noexcept {
  switch (how) {
    case completion::pending: return "pending";
    case completion::succeeded: return "succeeded";
    case completion::failed: return "failed";
    case completion::cancelled: return "cancelled";
  }
  return "unknown";
}

std::string_view to_string(cancel_reason reason) noexcept {
  switch (reason) {
    case cancel_reason::caller: return "asked by the caller";
    case cancel_reason::deadline: return "deadline passed";
    case cancel_reason::sibling_failed: return "sibling failed";
    case cancel_reason::race_lost: return "another was first";
    case cancel_reason::shutdown: return "shutdown";
    case cancel_reason::disconnect: return "client disconnected";
    case cancel_reason::overload: return "overload";
  }
  return "unknown";
}

cancel_record cancel_record::make(cancel_reason reason, std::string who, std::source_location where,
                                  failure cause) {
  auto made = detail::ref<data>::adopt(new data);
  made->reason = reason;
  made->who = std::move(who);
  made->where = where;
  made->cause = std::move(cause);
  return cancel_record(std::move(made));
}

std::string describe(const cancel_record& what) {
  if (!what) return "not cancelled";
  std::string_view file = what.where().file_name();
  if (const auto slash = file.rfind('/'); slash != std::string_view::npos) file.remove_prefix(slash + 1);
  std::string text = "cancelled by ";
  text.append(what.who()).append(" at ").append(file).append(":").append(std::to_string(what.where().line()));
  text.append(": ").append(to_string(what.reason()));
  if (what.cause()) text.append(" (").append(what.cause().message()).append(")");
  return text;
}

exit_status exit_status::of(const detail::outcome_base& how) noexcept {
  exit_status status;
  if (how.how() == detail::ending::failed) status.failure_ = how.failed_with();
  if (how.how() == detail::ending::cancelled) status.cancelled_ = how.cancelled_by();
  return status;
}

namespace detail {

namespace {

constexpr std::size_t reserve_slot = 256;
constexpr std::size_t reserve_slots = 64;
alignas(std::max_align_t) constinit unsigned char reserve[reserve_slots * reserve_slot]{};
constinit std::atomic<std::uint64_t> reserve_taken{0};  // a bit for each slot

}  // namespace

void* refcounted::operator new(std::size_t size) {
  if (void* memory = ::operator new(size, std::nothrow)) [[likely]]
    return memory;
  std::uint64_t taken = reserve_taken.load();
  while (size <= reserve_slot && taken != UINT64_MAX) {
    const auto slot = static_cast<unsigned>(std::countr_one(taken));
    if (reserve_taken.compare_exchange_weak(taken, taken | std::uint64_t{1} << slot))
      return reserve + slot * reserve_slot;
  }
  std::fputs("belay: no memory for the record of an error, and the reserve is used up\n", stderr);
  std::abort();
}

void refcounted::operator delete(void* memory) noexcept {
  const auto offset = reinterpret_cast<std::uintptr_t>(memory) - reinterpret_cast<std::uintptr_t>(&reserve);
  if (offset < sizeof reserve) {
    reserve_taken.fetch_and(~(std::uint64_t{1} << (offset / reserve_slot)));
  } else {
    ::operator delete(memory);
  }
}

void outcome_base::set_failed(ref<failure_record> record) noexcept {
  detail_ = ref<refcounted>::adopt(record.detach());
  how_ = ending::failed;
}

void outcome_base::set_cancelled(ref<cancel_record::data> record) noexcept {
  detail_ = ref<refcounted>::adopt(record.detach());
  how_ = ending::cancelled;
}

failure outcome_base::failed_with() const noexcept {
  if (how_ != ending::failed) return {};
  return failure(ref<failure_record>::share(static_cast<failure_record*>(detail_.get())));
}

cancel_record outcome_base::cancelled_by() const noexcept {
  if (how_ != ending::cancelled || !detail_) return {};
  return cancel_record(ref<cancel_record::data>::share(static_cast<cancel_record::data*>(detail_.get())));
}

void outcome_base::throw_trouble(std::source_location where) const {
  if (how_ == ending::failed) rethrow_record(failed_with().take_record());
  if (how_ == ending::cancelled)
    throw child_cancelled("the awaited task was " + describe(cancelled_by()), where);
  throw misuse_error("outcome::value: there is no outcome yet (or it was moved from)", where);
}

}  // namespace detail
}  // namespace belay
