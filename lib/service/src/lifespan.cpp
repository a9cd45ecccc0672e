// SPDX-License-Identifier: Apache-2.0
// Opening in order, closing in reverse, and keeping the record of it.

#include <belay/core/detail/cleanup.hpp>
#include <belay/core/error.hpp>
#include <belay/core/sleep.hpp>
#include <belay/service/lifespan.hpp>

namespace belay::service {

namespace {

// How many failures have been collected by the time a step is closed; the step that adds one is the one that failed.
std::size_t count_failures(const exit_status& how) {
  return how.failed() ? how.failure().flatten().size() : 0;
}

struct closing_record {
  shutdown_report& report;
  time_point since;
  std::size_t failures = 0;
};

// Stands before a step in the list, so it is closed right after it: notes how long that took and how it went.
managed<unit> note_closing(std::string name, closing_record& record) {
  const exit_status how = co_yield unit{};
  const time_point ended = now();
  const std::size_t failures = count_failures(how);
  std::string trouble;
  if (failures > record.failures) {
    const std::vector<failure> all = how.failure().flatten();
    trouble = all.back().message();
    const bool overran = all.back().find<timeout_error>() != nullptr;
    if (overran) {
      record.report.overran.push_back(name);
    } else {
      record.report.failed = true;
    }
    record.failures = failures;
  }
  record.report.add(std::move(name), ended - record.since, std::move(trouble));
  record.since = ended;
}

// Marks the moment at which closing begins: opened last, so closed first.
managed<unit> note_start_of_closing(closing_record& record) {
  const exit_status how = co_yield unit{};
  record.since = now();
  record.failures = count_failures(how);
}

managed<unit> only_at_start(task_function<task<>()> what) {
  co_await what();
  co_yield unit{};
}

}  // namespace

namespace detail {
void throw_not_open(const std::string& name) {
  throw misuse_error("the resource of lifespan step '" + name + "' was used before it was opened or after it was closed");
}
}  // namespace detail

void lifespan::add(std::string name, managed<unit> what) { entries_.push_back({std::move(name), std::move(what)}); }

void lifespan::step(std::string name, task_function<task<>()> what) { add(std::move(name), only_at_start(std::move(what))); }

task<> lifespan::run(task_function<task<>()> body, shutdown_report& report, std::string& failed_step) {
  // Parameters outlive the closing, locals do not: what the notes need is owned by the first of them.
  closing_record& record = co_await use([](shutdown_report& into) -> managed<closing_record> {
    co_yield closing_record{into, now()};
  }(report));
  for (entry& one : entries_) {
    failed_step = one.name;
    co_await use(note_closing(one.name, record));
    co_await use(std::move(one.what));
  }
  failed_step.clear();
  co_await use(note_start_of_closing(record));
  co_await or_fail(body());
}

}  // namespace belay::service
