// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs a few threads in every order in which they can meet. The code under test is a template over what it is made of (real_sync.hpp);
// here that is a machine whose every step on shared state is a choice, and all choices are tried.

#include <ucontext.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace core_tests::model {

// Stores that are not seq_cst may stay in the buffer of their thread, and pass later loads of it: what x86 does, and what
// the order of memory operations in the code must stand.
// `never_in_order` is a planted bug: seq_cst stores, too.
enum class stores : unsigned char { at_once, buffered, never_in_order };

// What a thread is about to do.
struct intent {
  const void* object = nullptr;
  const void* other = nullptr;  // a second object that it changes
  bool writes = false;
  std::function<bool()> possible;  // empty: always

  [[nodiscard]] bool meets(const intent& with) const noexcept {
    const auto same = [](const void* a, const void* b) { return a != nullptr && a == b; };
    if (!writes && !with.writes) return false;
    return same(object, with.object) || same(object, with.other) || same(other, with.object) ||
           same(other, with.other);
  }
};

class world;

class machine {
 public:
  explicit machine(stores kind) noexcept : stores_(kind) {}

  static machine& here() noexcept { return *running_; }

  // For the threads: waits for its turn. `fence`: nothing of it may be in its buffer.
  void step(const void* object, bool writes, bool fence, std::function<bool()> possible = {},
            const void* other = nullptr) {
    if (threads_.empty()) return;  // the world is being made
    thread& me = *threads_[now_];
    if (object >= buried_from_ && object < buried_to_) touched_buried_ = true;
    me.next = {object, other, writes, std::move(possible)};
    if (fence) {
      me.next.possible = [&me, also = std::move(me.next.possible)] {
        return me.buffer.empty() && (!also || also());
      };
    }
    ::swapcontext(&me.context, &scheduler_);
    if (object >= buried_from_ && object < buried_to_) touched_buried_ = true;
  }
  // From now on nobody may touch it.
  template <class T>
  void bury(const T& object) noexcept {
    buried_from_ = &object;
    buried_to_ = &object + 1;
  }
  [[nodiscard]] bool buffers(std::memory_order order) const noexcept {
    if (stores_ == stores::at_once || threads_.empty()) return false;
    return order != std::memory_order_seq_cst || stores_ == stores::never_in_order;
  }
  void keep(void* object, std::uint64_t bits, void (*apply)(void*, std::uint64_t)) {
    threads_[now_]->buffer.push_back({object, bits, apply});
  }
  [[nodiscard]] const std::uint64_t* kept(const void* object) const noexcept {
    if (threads_.empty()) return nullptr;
    const auto& mine = threads_[now_]->buffer;
    for (auto one = mine.rbegin(); one != mine.rend(); ++one) {
      if (one->object == object) return &one->bits;
    }
    return nullptr;
  }

 private:
  friend struct search;
  struct store {
    void* object;
    std::uint64_t bits;
    void (*apply)(void*, std::uint64_t);
  };
  struct thread {
    ucontext_t context{};
    std::unique_ptr<char[]> stack{new char[stack_size]};
    std::function<void()> body;
    intent next;
    std::vector<store> buffer;
    bool ended = false;
  };
  static constexpr std::size_t stack_size = 64 * 1024;

  static void begin() {
    machine& m = here();
    thread& me = *m.threads_[m.now_];
    me.body();
    me.ended = true;
    ::swapcontext(&me.context, &m.scheduler_);
  }
  void turn(std::size_t index) {
    now_ = index;
    ::swapcontext(&scheduler_, &threads_[index]->context);
  }

  static inline machine* running_ = nullptr;
  stores stores_;
  std::vector<std::unique_ptr<thread>> threads_;
  ucontext_t scheduler_{};
  std::size_t now_ = 0;
  const void* buried_from_ = nullptr;
  const void* buried_to_ = nullptr;
  bool touched_buried_ = false;
};

// What the protocols are made of.
struct sync {
  template <class T>
  class atomic {
   public:
    atomic(T value) noexcept : value_(value) {}
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;

    T load(std::memory_order) const {
      machine::here().step(this, false, false);
      if (const std::uint64_t* mine = machine::here().kept(this)) return from_bits(*mine);
      return value_;
    }
    void store(T value, std::memory_order order) {
      machine& m = machine::here();
      if (m.buffers(order)) {
        m.keep(this, to_bits(value),
               [](void* self, std::uint64_t bits) { static_cast<atomic*>(self)->value_ = from_bits(bits); });
        return;
      }
      m.step(this, true, true);
      value_ = value;
    }
    T exchange(T value, std::memory_order) {
      machine::here().step(this, true, true);
      return std::exchange(value_, value);
    }
    bool compare_exchange_strong(T& expected, T value, std::memory_order, std::memory_order) {
      machine::here().step(this, true, true);
      if (value_ != expected) {
        expected = value_;
        return false;
      }
      value_ = value;
      return true;
    }
    bool compare_exchange_weak(T& expected, T value, std::memory_order a, std::memory_order b) {
      return compare_exchange_strong(expected, value, a, b);
    }
    T fetch_add(T by, std::memory_order) {
      machine::here().step(this, true, true);
      return std::exchange(value_, value_ + by);
    }
    T fetch_sub(T by, std::memory_order) {
      machine::here().step(this, true, true);
      return std::exchange(value_, value_ - by);
    }
    [[nodiscard]] T peek() const noexcept { return value_; }

   private:
    static std::uint64_t to_bits(T value) noexcept {
      std::uint64_t bits = 0;
      std::memcpy(&bits, &value, sizeof value);
      return bits;
    }
    static T from_bits(std::uint64_t bits) noexcept {
      T value;
      std::memcpy(&value, &bits, sizeof value);
      return value;
    }
    T value_;
  };

  // What is done under a lock is one step with taking it, unless there is another step in between.
  class mutex {
   public:
    void lock() {
      machine::here().step(this, true, true, [this] { return !held_; });
      held_ = true;
    }
    void unlock() noexcept { held_ = false; }

   private:
    bool held_ = false;
  };

  class condition {
   public:
    void wait(std::unique_lock<mutex>& lock) {
      machine& m = machine::here();
      m.step(this, true, true, {}, lock.mutex());
      bool woken = false;
      waiting_.push_back(&woken);
      lock.unlock();
      m.step(this, true, true, [&woken] { return woken; });
      lock.lock();
    }
    void notify_one() {
      machine::here().step(this, true, true);
      if (waiting_.empty()) return;
      *waiting_.front() = true;
      waiting_.erase(waiting_.begin());
    }
    void notify_all() {
      machine::here().step(this, true, true);
      for (bool* one : waiting_) *one = true;
      waiting_.clear();
    }

   private:
    std::vector<bool*> waiting_;
  };

  template <class T>
  static void spin_until(const atomic<T>& what, T value) {
    machine::here().step(&what, false, false, [&what, value] { return what.peek() == value; });
  }
};

// An eventfd: stays set until somebody has waited for it.
class bell {
 public:
  void ring() {
    machine::here().step(this, true, true);
    rung_ = true;
  }
  void wait() {
    machine::here().step(this, true, true, [this] { return rung_; });
    rung_ = false;
  }

 private:
  bool rung_ = false;
};

// A few threads, what they share, and what must be true when they have ended.
class world {
 public:
  world() = default;
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  virtual ~world() = default;
  // Empty: all is well.
  [[nodiscard]] virtual std::string verdict() const = 0;
  std::vector<std::function<void()>> threads;
};

struct search_result {
  std::size_t runs = 0;     // to the end
  std::size_t skipped = 0;  // left when it turned out that another run shows the same
  std::string trouble;      // of the first run that had any
  bool complete = false;
};

// Depth first over all choices. Runs that differ only in the order of steps that do not meet are tried once (sleep sets).
struct search {
  struct choice {
    std::uint32_t possible;
    std::uint32_t asleep;
    std::uint32_t tried;
    unsigned taken;
  };

  template <class Make>
  search_result all(stores kind, Make make, std::size_t most_runs = 1'000'000) {
    search_result out;
    std::vector<choice> path;
    std::vector<std::unique_ptr<char[]>> stacks;
    for (;;) {
      machine m(kind);
      machine::running_ = &m;
      const std::unique_ptr<world> w = make();
      for (std::function<void()>& body : w->threads) {
        auto made = std::make_unique<machine::thread>();
        made->body = std::move(body);
        ::getcontext(&made->context);
        made->context.uc_stack.ss_sp = made->stack.get();
        made->context.uc_stack.ss_size = machine::stack_size;
        ::makecontext(&made->context, &machine::begin, 0);
        m.threads_.push_back(std::move(made));
      }
      for (std::size_t i = 0; i < m.threads_.size(); ++i) m.turn(i);  // to its first step
      const bool ended = run(m, path);
      if (ended) {
        ++out.runs;
        out.trouble = stuck(m) ? "they wait for each other" : w->verdict();
        if (m.touched_buried_) out.trouble = "touched after it had gone";
        if (!out.trouble.empty()) {
          out.trouble += ", after";
          for (const choice& one : path) out.trouble += " " + std::to_string(one.taken);
        }
      } else {
        ++out.skipped;
      }
      if (!out.trouble.empty() || out.runs + out.skipped >= most_runs) return out;
      while (!path.empty() && !next(path.back())) path.pop_back();
      if (path.empty()) {
        out.complete = true;
        return out;
      }
    }
  }

 private:
  static bool stuck(const machine& m) noexcept {
    for (const auto& one : m.threads_) {
      if (!one->ended) return true;
    }
    return false;
  }
  static bool pick(choice& from) noexcept {
    const std::uint32_t left = from.possible & ~from.asleep & ~from.tried;
    if (left == 0) return false;
    from.taken = static_cast<unsigned>(__builtin_ctz(left));
    return true;
  }
  static bool next(choice& of) noexcept {
    of.tried |= 1u << of.taken;
    return pick(of);
  }
  // A thread, or (after these) the buffer of one, from which the oldest store goes out.
  static intent about(const machine& m, std::size_t actor) {
    const std::size_t count = m.threads_.size();
    if (actor < count) return m.threads_[actor]->next;
    return {m.threads_[actor - count]->buffer.front().object, nullptr, true, {}};
  }
  static std::uint32_t possible(const machine& m) {
    std::uint32_t mask = 0;
    const std::size_t count = m.threads_.size();
    for (std::size_t i = 0; i < count; ++i) {
      const machine::thread& one = *m.threads_[i];
      if (!one.ended && (!one.next.possible || one.next.possible())) mask |= 1u << i;
      if (!one.buffer.empty()) mask |= 1u << (count + i);
    }
    return mask;
  }
  // False: nothing new can come of it.
  static bool run(machine& m, std::vector<choice>& path) {
    std::uint32_t asleep = 0;
    for (std::size_t depth = 0;; ++depth) {
      const std::uint32_t can = possible(m);
      if (can == 0) return true;
      if (depth == path.size()) {
        choice made{can, asleep, 0, 0};
        if (!pick(made)) return false;
        path.push_back(made);
      }
      const choice& here = path[depth];
      const intent chosen = about(m, here.taken);
      asleep = 0;
      for (std::uint32_t rest = (here.asleep | here.tried) & can; rest != 0; rest &= rest - 1) {
        const auto other = static_cast<unsigned>(__builtin_ctz(rest));
        if (!about(m, other).meets(chosen)) asleep |= 1u << other;
      }
      if (here.taken < m.threads_.size()) {
        m.turn(here.taken);
      } else {
        auto& buffer = m.threads_[here.taken - m.threads_.size()]->buffer;
        const machine::store oldest = buffer.front();
        buffer.erase(buffer.begin());
        oldest.apply(oldest.object, oldest.bits);
      }
    }
  }
};

}  // namespace core_tests::model
