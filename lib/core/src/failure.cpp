// SPDX-License-Identifier: Apache-2.0
// Failure records: their story, their fate, and their rendering as text.

#include <belay/core/cancel.hpp>
#include <belay/core/detail/place.hpp>
#include <belay/core/detail/runtime.hpp>
#include <belay/core/error.hpp>
#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <unordered_set>

namespace belay {

namespace detail {

failure_record::failure_record(std::exception_ptr what) noexcept : exception(std::move(what)) {}
failure_record::~failure_record() {
  for (const failure& one : attached) {
    const failure_record* self = this;
    one.record()->attached_to.compare_exchange_strong(self, nullptr, std::memory_order_relaxed);
  }
  if (told_mark* const shared = shared_told_.load(std::memory_order_acquire)) shared->release();
}

void failure_record::share_told_with(failure_record& other) {
  told_mark* shared = shared_told_.load(std::memory_order_acquire);
  if (shared == nullptr) {
    auto* const made = new told_mark(told_.load(std::memory_order_relaxed));
    if (shared_told_.compare_exchange_strong(shared, made, std::memory_order_acq_rel)) {
      shared = made;
    } else {
      made->release();  // another thread was faster
    }
  }
  shared->retain();
  other.shared_told_.store(shared, std::memory_order_release);
}

void failure_record::last_release() noexcept {
  if (!observed.exchange(true)) {
    // Nobody looked: the sink gets it, as the last owner.
    retain();
    report_lost(failure(ref<failure_record>::adopt(this)));
    return;
  }
  // Attached failures and causes may hang together deeply: records that die with this one are deleted after it, not
  // recursively.
  static constinit thread_local failure_record* dead = nullptr;
  static constinit thread_local bool deleting = false;
  next_dead_ = dead;
  dead = this;
  if (deleting) return;
  deleting = true;
  while (dead != nullptr) {
    const failure_record* first = dead;
    dead = dead->next_dead_;
    delete first;
  }
  deleting = false;
}

ref<failure_record> record_current_exception() noexcept {
  failure now = failure::of(std::current_exception());
  now.record()->observed.store(false,
                               std::memory_order_relaxed);  // it goes on: somebody else has to look again
  return now.take_record();
}

failure_record* runtime::find_recent(const std::exception_ptr& exception) const noexcept {
  if (recent_count == 0) return nullptr;
  for (const ref<failure_record>& one : recent) {
    if (one && one->exception == exception) return one.get();
  }
  return nullptr;
}

void append_trace(failure_record& record, std::source_location place) noexcept {
  if (place.line() != 0) record.trace.push_back(place);
}

bool trace_rows::grow() noexcept {
  if (room_ >= most) return false;
  const unsigned room = std::min(room_ * 4, most);
  std::unique_ptr<std::source_location[]> larger(new (std::nothrow) std::source_location[room]);
  if (!larger) return false;
  std::ranges::copy(view(), larger.get());
  more_ = std::move(larger);
  room_ = room;
  return true;
}

void rethrow_record(const ref<failure_record>& record) {
  record->observed.store(true, std::memory_order_relaxed);
  if (this_runtime != nullptr) {
    if (this_runtime->recent_count != 0) {
      // Another record of this exception (one that was split) must not be taken for this one.
      for (ref<failure_record>& one : this_runtime->recent) {
        if (one && one->exception == record->exception) one = nullptr;
      }
    }
    this_runtime->remember(record);
  }
  std::rethrow_exception(record->exception);
}

namespace {

// What std::throw_with_nested put into an exception; null: nothing.
std::exception_ptr nested_in(const std::exception_ptr& what) noexcept {
  const auto* nesting = exception_as<std::nested_exception>(what);
  return nesting != nullptr ? nesting->nested_ptr() : nullptr;
}

// `from` is about to be attached to `target`. Takes out whatever in it leads back to `target`, so that no cycle arises,
// which would never be freed. Nothing is lost: `target` is where both will be found.
void cut_ways(const failure& from, const failure_record& target) {
  std::unordered_set<const failure_record*> seen;
  std::vector<failure> to_visit{from};
  while (!to_visit.empty()) {
    failure one = std::move(to_visit.back());
    to_visit.pop_back();
    failure_record& here = *one.record();
    if (!seen.insert(&here).second) continue;
    std::erase_if(here.attached,
                  [&target](const failure& beside) { return beside.record().get() == &target; });
    to_visit.insert(to_visit.end(), here.attached.begin(), here.attached.end());
    // What it replaced, and what those replaced that are nested in it.
    for (std::exception_ptr at = here.exception; at != nullptr; at = nested_in(at)) {
      const auto* typed = exception_as<error>(at);
      failure below = typed != nullptr ? typed->cause() : failure();
      if (!below) continue;
      if (below.record().get() == &target) {
        here.notes.push_back("thrown while handling the failure that it is attached to: " + below.message());
        error_access::drop_cause(*typed);
      } else {
        to_visit.push_back(std::move(below));
      }
    }
  }
}

}  // namespace
}  // namespace detail

failure failure::of(std::exception_ptr exception) {
  if (!exception) return {};
  if (detail::this_runtime != nullptr) {
    if (detail::failure_record* known = detail::this_runtime->find_recent(exception)) {
      return failure(detail::ref<detail::failure_record>::share(known));
    }
  }
  return failure(
      detail::ref<detail::failure_record>::adopt(new detail::failure_record(std::move(exception))));
}

failure current_failure() {
  failure found = failure::of(std::current_exception());
  if (!found) return found;
  found.observe();
  detail::runtime* rt = detail::this_runtime;
  if (rt != nullptr && rt->current != nullptr && rt->find_recent(found.exception()) == nullptr)
    rt->remember(found.record());
  return found;
}

const std::exception_ptr& failure::exception() const noexcept {
  static const std::exception_ptr none;
  return record_ ? record_->exception : none;
}

std::span<const std::source_location> failure::trace() const noexcept {
  if (!record_) return {};
  return record_->trace.view();
}

std::span<const failure> failure::attached() const noexcept {
  if (!record_) return {};
  for (const failure& one : record_->attached) one.observe();
  return record_->attached;
}

failure failure::cause() const {
  if (!record_) return {};
  if (const auto* typed = detail::exception_as<error>(exception())) return typed->cause();
  const auto* nesting = detail::exception_as<std::nested_exception>(exception());
  if (nesting == nullptr) return {};
  failure nested = of(nesting->nested_ptr());
  nested.observe();  // it has no fate of its own
  return nested;
}

std::span<const std::string> failure::notes() const noexcept {
  if (!record_) return {};
  return record_->notes;
}

void failure::attach(failure other) {
  if (!other || !record_ || other.record_.get() == record_.get()) return;
  if (other.exception() == exception()) {
    other.observe();  // the same exception by another way
    return;
  }
  detail::failure_record& added = *other.record_;
  const detail::failure_record* known_to = added.attached_to.load(std::memory_order_relaxed);
  if (known_to == record_.get()) return;
  if (known_to != nullptr &&
      std::find(record_->attached.begin(), record_->attached.end(), other) != record_->attached.end()) {
    return;
  }
  if (record_->below.load(std::memory_order_relaxed)) detail::cut_ways(other, *record_);
  record_->attached.push_back(std::move(other));
  added.attached_to.store(record_.get(), std::memory_order_relaxed);
  added.below.store(true, std::memory_order_relaxed);
}

void failure::note(std::string text) {
  constexpr std::size_t most = 256;
  if (!record_) return;
  std::vector<std::string>& notes = record_->notes;
  if (notes.size() >= most) notes.erase(notes.begin() + most / 2);
  notes.push_back(std::move(text));
}

void failure::rethrow() const {
  if (!record_) throw misuse_error("failure::rethrow on an empty failure");
  detail::rethrow_record(record_);
}

void failure::observe() const noexcept {
  if (record_) record_->observed.store(true, std::memory_order_relaxed);
}

bool failure::lost() const noexcept { return record_ && record_->lost.load(std::memory_order_relaxed); }

bool failure::observed() const noexcept {
  return !record_ || record_->observed.load(std::memory_order_relaxed);
}

std::vector<failure> failure::flatten() const {
  std::vector<failure> all = everything();
  for (const failure& one : all) one.observe();
  return all;
}

std::vector<failure> failure::everything() const {
  std::vector<failure> all;
  std::vector<failure> to_visit{*this};
  std::unordered_set<const detail::failure_record*> seen;
  while (!to_visit.empty()) {
    failure one = std::move(to_visit.back());
    to_visit.pop_back();
    if (!one || !seen.insert(one.record_.get()).second) continue;
    if (failure below = one.cause()) to_visit.push_back(std::move(below));
    const auto& beside = one.record_->attached;
    to_visit.insert(to_visit.end(), beside.rbegin(), beside.rend());
    all.push_back(std::move(one));
  }
  return all;
}

namespace detail {

namespace {

// What comes out of a part of the tree: those that match, and the others; null where there is none.
struct parts {
  failure matching;
  failure rest;
};

// Another record of the same exception, with the same story; nothing attached yet. The duty to be looked at goes over to it.
failure twin(const failure& of) {
  auto made = ref<failure_record>::adopt(new failure_record(of.exception()));
  of.record()->share_told_with(*made);
  made->observed.store(of.observed(), std::memory_order_relaxed);
  of.observe();
  for (const std::source_location& place : of.trace()) append_trace(*made, place);
  made->notes = of.record()->notes;
  return failure(std::move(made));
}

// Attaches what was taken out of the same tree, each once: nothing can be there already, and no way can lead back.
void hang_on(const failure& to, failure one) {
  if (one.exception() == to.exception()) return one.observe();  // the same exception by another way
  failure_record& added = *one.record();
  to.record()->attached.push_back(std::move(one));
  added.attached_to.store(to.record().get(), std::memory_order_relaxed);
  added.below.store(true, std::memory_order_relaxed);
}

// One failure for several: the first, with the others attached.
failure join(std::vector<failure>& several) {
  if (several.empty()) return {};
  if (several.size() == 1) return std::move(several.front());
  failure first = twin(several.front());
  for (const failure& one : several.front().record()->attached) hang_on(first, one);
  for (std::size_t i = 1; i < several.size(); ++i) hang_on(first, std::move(several[i]));
  return first;
}

}  // namespace

std::pair<failure, failure> split_failure(const failure& what, bool (*matches)(const std::exception_ptr&)) {
  struct visit {
    failure at;
    std::size_t next = 0;  // the attached one to be looked at next
    std::vector<failure> matching;
    std::vector<failure> rest;
  };
  std::unordered_set<const failure_record*> seen{what.record().get()};
  std::vector<visit> path;
  path.push_back({what, 0, {}, {}});
  for (;;) {
    visit& here = path.back();
    if (const auto& attached = here.at.record()->attached; here.next < attached.size()) {
      const failure& one = attached[here.next++];
      if (seen.insert(one.record().get()).second) path.push_back({one, 0, {}, {}});
      continue;
    }
    const bool fits = matches(here.at.exception());
    std::vector<failure>& same = fits ? here.matching : here.rest;
    std::vector<failure>& others = fits ? here.rest : here.matching;
    failure mine = here.at;
    if (!others.empty()) {  // a part is taken out of it, so it cannot stay the record that it is
      mine = twin(mine);
      for (failure& one : same) hang_on(mine, std::move(one));
    }
    failure separated = join(others);
    parts done =
        fits ? parts{std::move(mine), std::move(separated)} : parts{std::move(separated), std::move(mine)};
    path.pop_back();
    if (path.empty()) {
      for (const failure& one : done.matching.everything()) one.observe();
      if (done.rest) done.rest.record()->observed.store(false, std::memory_order_relaxed);
      return {std::move(done.matching), std::move(done.rest)};
    }
    if (done.matching) path.back().matching.push_back(std::move(done.matching));
    if (done.rest) path.back().rest.push_back(std::move(done.rest));
  }
}

}  // namespace detail

failure detail::twin_of(const failure& what) {
  auto made = ref<failure_record>::adopt(new failure_record(what.exception()));
  what.record()->share_told_with(*made);
  made->observed.store(true, std::memory_order_relaxed);
  for (const std::source_location& place : what.trace()) append_trace(*made, place);
  made->notes = what.record()->notes;
  return failure(std::move(made));
}

std::string failure::message() const {
  if (!record_) return {};
  try {
    std::rethrow_exception(record_->exception);
  } catch (const std::exception& e) {
    const char* text = e.what();
    return text != nullptr ? text : "(no message)";
  } catch (const std::string& text) {
    return text;
  } catch (const char* text) {
    return text != nullptr ? text : "(no message)";
  } catch (...) {
    return "an exception of a type without a message";  // the type's name is given beside it
  }
}

std::string failure::type_name() const {
  if (!record_) return {};
  const std::type_info* type = record_->exception.__cxa_exception_type();
  if (type == nullptr) return "(unknown type)";
  int status = 0;
  char* readable = abi::__cxa_demangle(type->name(), nullptr, nullptr, &status);
  std::string name = status == 0 && readable != nullptr ? readable : type->name();
  std::free(readable);
  return name;
}

}  // namespace belay
