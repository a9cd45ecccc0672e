// SPDX-License-Identifier: Apache-2.0
// The loop waits in Asio: an io_context as its reactor, put in when I/O is first used.

#include <belay/core/loop.hpp>
#include <belay/io/use_task.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace belay::io {

namespace {

class asio_reactor final : public reactor {
 public:
  // Without locks around descriptors, which belong to the loop's thread. (Asio's resolver works on a thread of its own and comes back through
  // the queue, which keeps its lock.)
  explicit asio_reactor(int wake_fd)
      : context_(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO), wake_(context_, wake_fd) {}
  ~asio_reactor() override { wake_.release(); }  // the descriptor is the loop's

  void wait(duration limit) override {
    watch_wake_up();
    if (limit == duration::zero()) {
      context_.poll();
      return;
    }
    const std::size_t ran = limit == duration::max() ? context_.run_one() : context_.run_one_for(limit);
    if (ran != 0) context_.poll();
  }

  boost::asio::io_context& context() noexcept { return context_; }

 private:
  void watch_wake_up() {
    if (watching_) return;
    watching_ = true;
    wake_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this](boost::system::error_code) { watching_ = false; });
  }

  boost::asio::io_context context_;
  // Without it the context would stop, for good, whenever its last operation completes.
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> stays_open_{
      context_.get_executor()};
  boost::asio::posix::stream_descriptor wake_;
  bool watching_ = false;
};

}  // namespace

boost::asio::io_context& detail::loop_context() {
  loop& here = *belay::detail::require_runtime("belay::io::context").loop;
  if (auto* installed = dynamic_cast<asio_reactor*>(here.installed_reactor())) return installed->context();
  auto made = std::make_unique<asio_reactor>(here.wake_fd());
  boost::asio::io_context& context = made->context();
  here.install(std::move(made));
  return context;
}

boost::asio::io_context& context() { return detail::loop_context(); }

}  // namespace belay::io
