// A client in C++ that does what a test says: a JSON object a line in, one out. See driver.py.
#include <scaler/client.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <string>

using scaler::Json;

namespace {

scaler::CallOptions options_of(const Json& said) {
    scaler::CallOptions options;
    options.retries = said.value("retries", options.retries);
    options.priority = said.value("priority", options.priority);
    options.timeout_s = said.value("timeout", options.timeout_s);
    return options;
}

Json answer(scaler::Client& client, std::map<int, scaler::Future>& futures, const Json& said) {
    const auto what = said.at("do").get<std::string>();
    if (what == "submit") {
        auto future = client.submit(said.at("name"), said.at("args"), options_of(said));
        futures.insert_or_assign(said.at("id").get<int>(), future);
        return {{"task", future.task_id()}};
    }
    if (what == "get") return {{"value", futures.at(said.at("id")).get(std::chrono::duration<double>(said.at("timeout")))}};
    if (what == "cancel") return {{"value", futures.at(said.at("id")).cancel()}};
    if (what == "done") return {{"value", futures.at(said.at("id")).done()}};
    if (what == "map") return {{"value", client.map(said.at("name"), said.at("items"), options_of(said))}};
    if (what == "workers") return {{"value", client.workers()}};
    if (what == "time") {  // so many calls at a time, in seconds
        std::vector<Json> items(said.at("count").get<std::size_t>(), said.at("args"));
        auto begin = std::chrono::steady_clock::now();
        client.map(said.at("name"), items);
        return {{"value", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()}};
    }
    if (what == "ones") {  // so many calls one after the other: the median, in seconds
        std::vector<double> seconds(said.at("count").get<std::size_t>());
        for (auto& each : seconds) {
            auto begin = std::chrono::steady_clock::now();
            client.submit(said.at("name"), said.at("args")).get();
            each = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        }
        std::sort(seconds.begin(), seconds.end());
        return {{"value", seconds.at(seconds.size() / 2)}};
    }
    throw std::invalid_argument("there is nothing called " + what);
}

Json error(const char* kind, const std::exception& raised) { return {{"error", kind}, {"text", raised.what()}}; }

}  // namespace

int main(int count, char** words) {
    std::ios::sync_with_stdio(false);
    const std::string address = count > 1 ? words[1] : "", keys = count > 2 ? words[2] : "";
    const double timeout_s = count > 3 ? std::stod(words[3]) : 20;
    try {
        scaler::Client client({address, keys, timeout_s});
        std::cout << Json{{"value", "connected"}} << std::endl;
        std::map<int, scaler::Future> futures;
        for (std::string line; std::getline(std::cin, line);) {
            Json said;
            try {
                said = answer(client, futures, Json::parse(line));
            } catch (const scaler::RemoteError& raised) {
                said = error("RemoteError", raised);
                said.update({{"type", raised.type()}, {"message", raised.message()}, {"traceback", raised.traceback()}});
            } catch (const scaler::WorkerDiedError& raised) {
                said = error("WorkerDiedError", raised);
            } catch (const scaler::TaskRefusedError& raised) {
                said = error("TaskRefusedError", raised);
            } catch (const scaler::NoWorkerError& raised) {
                said = error("NoWorkerError", raised);
            } catch (const scaler::CancelledError& raised) {
                said = error("CancelledError", raised);
            } catch (const scaler::DisconnectedError& raised) {
                said = error("DisconnectedError", raised);
            } catch (const scaler::TimeoutError& raised) {
                said = error("TimeoutError", raised);
            } catch (const std::exception& raised) {
                said = error("exception", raised);
            }
            std::cout << said.dump(-1, ' ', true, Json::error_handler_t::replace) << std::endl;
        }
    } catch (const scaler::ConnectionError& raised) {
        std::cout << error("ConnectionError", raised) << std::endl;
        return 1;
    }
    return 0;
}
