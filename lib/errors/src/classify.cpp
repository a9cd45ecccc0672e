// SPDX-License-Identifier: Apache-2.0
// What is known of the exceptions of the standard library, and who is asked before.

#include <belay/core/loop.hpp>
#include <belay/errors/classify.hpp>
#include <belay/errors/native_codes.hpp>
#include <belay/errors/retry_judge.hpp>

#include <array>
#include <new>
#include <stdexcept>
#include <system_error>
#include <typeinfo>

namespace belay {

namespace detail {
const task_local<std::shared_ptr<const error_classifier>> classifier_here{"the error_classifier in effect"};
}  // namespace detail

namespace {

classification of_system_error(const std::error_code& code) {
  // Categories of their own (a resolver's, an SSL library's) may map to a condition of the system; else it is not known what
  // they mean.
  const std::error_condition means = code.default_error_condition();
  if (means.category() == std::generic_category()) return classify_errno(means.value());
  return classification::of(error_kind::internal, code.category().name());
}

struct known_type {
  bool (*matches)(const std::exception_ptr&) noexcept;
  error_kind kind;
  const char* code;
};
template <class E>
constexpr known_type known(error_kind kind, const char* code) {
  return {[](const std::exception_ptr& what) noexcept { return detail::exception_as<E>(what) != nullptr; },
          kind, code};
}
// The more derived before their bases.
constexpr std::array known_types{
    known<std::bad_array_new_length>(error_kind::invalid, "bad_array_length"),
    known<std::bad_alloc>(error_kind::overloaded, "out_of_memory"),
    known<std::invalid_argument>(error_kind::invalid, "invalid_argument"),
    known<std::out_of_range>(error_kind::invalid, "out_of_range"),
    known<std::length_error>(error_kind::invalid, "length_error"),
    known<std::domain_error>(error_kind::invalid, "domain_error"),
    known<std::logic_error>(error_kind::internal, "logic_error"),
    known<std::bad_cast>(error_kind::internal, "bad_cast"),
    known<std::exception>(error_kind::internal, "exception"),
};

}  // namespace

bool is_retryable(error_kind kind) noexcept {
  return kind == error_kind::unavailable || kind == error_kind::overloaded || kind == error_kind::timed_out;
}

bool is_fatal(const failure& what) noexcept {
  const std::exception_ptr& thrown = what.exception();
  return detail::exception_as<std::bad_alloc>(thrown) != nullptr ||
         detail::exception_as<misuse_error>(thrown) != nullptr ||
         detail::exception_as<deadlock_error>(thrown) != nullptr;
}

classification error_classifier::classify(const std::exception_ptr& what) const {
  for (auto one = adapters_.rbegin(); one != adapters_.rend(); ++one) {
    try {
      if (std::optional<classification> answer = one->ask(what)) return std::move(*answer);
    } catch (...) {
      if (!one->reported->exchange(true)) detail::report_contained("an adapter of error_classifier");
    }
  }
  if (const auto* typed = detail::exception_as<error>(what)) {
    classification answer = classification::of(typed->kind(), std::string(typed->code()));
    answer.retry_after = typed->retry_after();
    if (const auto* judge = detail::exception_as<retry_judge>(what); judge && !judge->may_be_tried_again())
      answer.retryable = false;
    return answer;
  }
  if (const auto* system = detail::exception_as<std::system_error>(what))
    return of_system_error(system->code());
  for (const known_type& type : known_types) {
    // Never retryable: the same call would find the same bug, or the same lack of memory.
    if (type.matches(what)) return {.kind = type.kind, .code = type.code, .retryable = false};
  }
  return classification::of(error_kind::internal, "unknown");
}

classification classify(const std::exception_ptr& what) {
  static const error_classifier standard;
  const std::shared_ptr<const error_classifier>* here = detail::classifier_here.find();
  return (here != nullptr ? **here : standard).classify(what);
}
classification classify(const failure& what) { return classify(what.exception()); }
bool is_retryable(const failure& what) { return what && classify(what).retryable; }

}  // namespace belay
