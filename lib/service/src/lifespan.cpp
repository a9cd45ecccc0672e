// SPDX-License-Identifier: Apache-2.0
// Opening in order, closing in reverse, and keeping the record of it.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/error.hpp>
#include <belay/core/sleep.hpp>
#include <belay/service/lifespan.hpp>

namespace belay::service {

namespace {

managed<unit> only_at_start(task_function<task<>()> what) {
  co_await what();
  co_yield unit{};
}

}  // namespace

namespace detail {

void throw_not_open(const std::string& name) {
  throw misuse_error("the resource of lifespan step '" + name +
                     "' was used before it was opened or after it was closed");
}

}  // namespace detail

// A step that notes how its opening and its closing went.
managed<unit> lifespan::recorded(entry& of, shutdown_report& report, std::string& failed_step) {
  try {
    co_await of.what.open();
  } catch (...) {
    failed_step = of.name;
    throw;
  }
  report.open.push_back(of.name);
  exit_status how = co_yield unit{};

  const time_point begin = now();
  belay::detail::scope within;
  outcome<void> closed = co_await belay::detail::close_awaiter(of.what.release(), std::move(how), within);
  const duration took = now() - begin;
  std::erase(report.open, of.name);
  if (closed.succeeded()) {
    report.add(of.name, took);
    co_return;
  }
  if (closed.failed()) {
    report.failed = true;
    report.add(of.name, took, closed.failed_with().message());
  } else {  // only the limit of the cleanup can cancel it
    report.overran.push_back(of.name);
    report.add(of.name, took, "did not close within the limit for a cleanup, and was cancelled");
  }
  co_await belay::detail::end_with(closed);
}

void lifespan::add(std::string name, managed<unit> what) {
  if (begun_) throw misuse_error("lifespan: step '" + name + "' was added after the start");
  entries_.push_back({std::move(name), std::move(what)});
}

void lifespan::step(std::string name, task_function<task<>()> what) {
  add(std::move(name), only_at_start(std::move(what)));
}

task<> lifespan::run(task_function<task<>()> body, shutdown_report& report, std::string& failed_step) {
  if (std::exchange(begun_, true)) throw misuse_error("lifespan::run was called twice");
  // What is closed at the end refers to parameters and members only: locals are gone by then.
  for (entry& one : entries_) co_await use(recorded(one, report, failed_step));
  co_await or_fail(body());
}

}  // namespace belay::service
