// Client: submits calls of named functions, and hands out futures of their results.
//
//     scaler::Client client({"tcp://127.0.0.1:2345"});
//     auto root = client.submit("math:sqrt", {2.0});
//     std::cout << root.get().get<double>() << "\n";
//
// A name `module:function` is imported by a Python worker; any other one is served by a worker in C++ (worker.h).
// Arguments and results are what JSON has.
//
// All of it may be used by any thread. A thread of the client's own speaks to the scheduler; if the connection breaks, it
// goes on over another one, and what was not answered is answered then.
//
// Not here: the bytes on the wire (protocol/README.md).
#pragma once

#include <scaler/common.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace scaler {

namespace detail {
class ClientSession;
struct Outcome;
}  // namespace detail

struct CallOptions {
    int retries = 3;       // how often it is run again after its worker has died, 0 to 254
    int priority = 0;      // -15 to 15: of what waits, the higher goes first
    double timeout_s = 0;  // how long it may run; 0: as long as it likes
};

// The result of one call, which may still be to come. Copies are of the same one.
class Future {
  public:
    // Waits for the result; throws what the call has raised. May be called again.
    Json get() const;
    Json get(std::chrono::duration<double> timeout) const;  // TimeoutError if it takes longer
    bool wait(std::chrono::duration<double> timeout) const;  // whether it is done
    bool done() const;
    // Nobody waits for it any more: whether it is cancelled now. False if it was done already. What runs is stopped, if
    // its worker can do that.
    bool cancel() const;
    std::uint64_t task_id() const;

  private:
    friend class Client;
    explicit Future(std::shared_ptr<detail::Outcome> outcome) : outcome_(std::move(outcome)) {}
    std::shared_ptr<detail::Outcome> outcome_;
};

class Client {
  public:
    // Waits for the scheduler's welcome. ConnectionError says why there is none.
    explicit Client(const Connection& where);
    // Says goodbye. What is open is cancelled.
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // `arguments` is an array, nothing, or an object {"args": [...], "kwargs": {...}}. Waits while too much is on its way.
    Future submit(const std::string& name, const Json& arguments, const CallOptions& options = {});
    // A call for each item, which is its arguments; the results in order. The first failure is thrown.
    std::vector<Json> map(const std::string& name, const std::vector<Json>& items, const CallOptions& options = {});
    // The scheduler's workers, as far as it has said.
    unsigned workers() const;

  private:
    std::shared_ptr<detail::ClientSession> session_;
};

}  // namespace scaler
