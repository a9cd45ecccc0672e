// SPDX-License-Identifier: Apache-2.0
// Planted bugs: an item that was taken is neither worked on nor put back when its taker is stopped.

#include <array>
#include <deque>
#include <vector>

#include "planted.hpp"

namespace planted {
namespace {

// A queue as one writes it in an hour.
class job_queue {
 public:
  void put(int job) {
    jobs_.push_back(job);
    arrived_.set();
  }
  task<> not_empty() {
    while (jobs_.empty()) {
      arrived_.reset();
      co_await arrived_.wait();
    }
  }
  int pop() {
    const int first = jobs_.front();
    jobs_.pop_front();
    return first;
  }
  void put_back(int job) {
    jobs_.push_front(job);
    arrived_.set();
  }
  [[nodiscard]] std::size_t size() const { return jobs_.size(); }

 private:
  std::deque<int> jobs_;
  b::event arrived_{"job arrived"};
};

struct workshop {
  job_queue queue;
  std::size_t accepted = 0;
  std::size_t done = 0;
  int asked = 0;

  void accept(int job) {
    ++accepted;
    queue.put(job);
  }
};

task<> accepts_a_job(workshop& shop) {
  co_await b::sleep_for(1s);
  shop.accept(7);
}
task<> counts_in_the_statistics(int& counter) {
  co_await b::sleep_for(10ms);
  ++counter;
}

// ---- The item in the hand
//
// The job has left the queue and has not reached anybody yet: who is stopped here takes it into the grave.

task<int> take_and_count(workshop& shop) {
  co_await shop.queue.not_empty();
  const int job = shop.queue.pop();
  co_await counts_in_the_statistics(shop.asked);  // <- found here
  co_return job;
}

// Nothing is taken before everything that can fail is behind us.
task<int> count_and_take(workshop& shop) {
  co_await counts_in_the_statistics(shop.asked);
  co_await shop.queue.not_empty();
  co_return shop.queue.pop();
}

template <task<int> (*Take)(workshop&)>
task<> one_job(stage& s) {
  auto& shop = s.make<workshop>();
  s.expect("every job is in the queue or done",
           [&] { return shop.queue.size() + shop.done == shop.accepted; });
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(accepts_a_job, std::ref(shop));
    co_await Take(shop);
    ++shop.done;
  });
}

constexpr bug item_in_the_hand{
    .name = "item in the hand",
    .looks = "pop, then an await before the item is returned",
    .broken = one_job<take_and_count>,
    .mended = one_job<count_and_take>,
    .rule = "every job is in the queue or done",
};
TEST_CASE("planted: the item in the hand of a cancelled taker") { check(item_in_the_hand); }

// ---- The job on the bench
//
// The worker is stopped in the middle of a job. Who takes one owes it: to finish it or to put it back.

task<> works_on(int job) { co_await b::sleep_for(std::chrono::seconds(job)); }

task<> worker_that_forgets(stage& s, workshop& shop) {
  co_await shop.queue.not_empty();
  const int job = shop.queue.pop();
  auto duty = s.owe("the job taken from the queue");
  co_await works_on(job);  // <- found here
  duty.met();
  ++shop.done;
}

// Puts the job back unless it was done.
class taken_job {
 public:
  taken_job(stage& s, job_queue& from)
      : from_(&from), job_(from.pop()), duty_(s.owe("the job taken from the queue")) {}
  taken_job(const taken_job&) = delete;
  taken_job& operator=(const taken_job&) = delete;
  ~taken_job() {
    if (!duty_) return;
    from_->put_back(job_);
    duty_.met();
  }
  [[nodiscard]] int job() const { return job_; }
  void done() { duty_.met(); }

 private:
  job_queue* from_;
  int job_;
  b::testing::obligation duty_;
};

task<> worker_that_puts_back(stage& s, workshop& shop) {
  co_await shop.queue.not_empty();
  taken_job mine(s, shop.queue);
  co_await works_on(mine.job());
  mine.done();
  ++shop.done;
}

template <task<> (*Work)(stage&, workshop&)>
task<> a_day_at_work(stage& s) {
  auto& shop = s.make<workshop>();
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(accepts_a_job, std::ref(shop));
    co_await Work(s, shop);
  });
}

constexpr bug job_on_the_bench{
    .name = "job on the bench",
    .looks = "a worker is stopped in the middle of a job, and does not put it back",
    .broken = a_day_at_work<worker_that_forgets>,
    .mended = a_day_at_work<worker_that_puts_back>,
    .rule = rules::obligations_met,
    .names = "the job taken from the queue",
};
TEST_CASE("planted: the job on the bench of a cancelled worker") { check(job_on_the_bench); }

// ---- The half-full batch
//
// Lines are gathered in a local variable until there are enough to be worth a write.

struct log_file {
  std::vector<int> lines;
  task<> write(std::vector<int> batch) {
    co_await b::sleep_for(100ms);
    lines.insert(lines.end(), batch.begin(), batch.end());
  }
};

task<> batches_in_a_local(job_queue& from, log_file& into, std::size_t enough) {
  std::vector<int> batch;
  while (batch.size() < enough) {
    co_await from.not_empty();  // <- found here
    batch.push_back(from.pop());
  }
  co_await into.write(std::move(batch));
}

// What was gathered is copied out of the queue; it leaves the queue when it has been written.
task<> batches_in_the_queue(job_queue& from, log_file& into, std::size_t enough) {
  while (from.size() < enough) co_await b::sleep_for(100ms);
  struct batch {
    job_queue& from;
    std::vector<int> lines;
    bool written = false;
    ~batch() {
      for (auto line = lines.rbegin(); !written && line != lines.rend(); ++line) from.put_back(*line);
    }
  } mine{.from = from, .lines = {}};
  while (mine.lines.size() < enough) mine.lines.push_back(from.pop());
  co_await into.write(mine.lines);
  mine.written = true;
}

struct log_book {
  job_queue queue;
  log_file file;
  std::size_t logged = 0;
};
task<> logs_another_line(log_book& log) {
  co_await b::sleep_for(1s);
  log.queue.put(3);
  ++log.logged;
}

template <task<> (*Write)(job_queue&, log_file&, std::size_t)>
task<> three_lines(stage& s) {
  auto& log = s.make<log_book>();
  for (; log.logged < 2; ++log.logged) log.queue.put(1);
  s.expect("every line is in the queue or in the file",
           [&] { return log.queue.size() + log.file.lines.size() == log.logged; });
  co_await b::with_group([&](b::group& g) -> task<> {
    g.spawn(logs_another_line, std::ref(log));
    co_await Write(log.queue, log.file, 3);
  });
}

constexpr bug half_full_batch{
    .name = "half-full batch",
    .looks = "items are gathered in a local variable over several awaits",
    .broken = three_lines<batches_in_a_local>,
    .mended = three_lines<batches_in_the_queue>,
    .rule = "every line is in the queue or in the file",
};
TEST_CASE("planted: the half-full batch of a cancelled writer") { check(half_full_batch); }

}  // namespace

std::span<const bug* const> lost_items() {
  static constexpr std::array all{&item_in_the_hand, &job_on_the_bench, &half_full_batch};
  return all;
}

}  // namespace planted
