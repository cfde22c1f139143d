// A seat held by this process: taken in the constructor, kept by a thread, given back in the destructor.
//
//     Seat seat(settings, "ada@workstation-7/0", {}, [](const std::string& why) { save_and_stop(why); });
//     while (seat.held()) work();
//
// The rules it keeps (contract, "Rules of the seat"):
// - Every call that grants carries a fresh clientNonce, and only a lease that names it, us, this device, and lies within the
//   certificate is believed (7). It grants what was asked for, and stays one of the same activation. Nothing beside the lease
//   is trusted: a proxy can rewrite what we ask, and sees the access token, but can't sign.
// - Belief ends at the first sending of that call + (exp - iat), by clocks that this machine counted itself. `held()` looks at
//   them each time, so it is right even while a call hangs or after the machine slept (7).
// - One call at a time. A call without an answer is repeated with the same nonce and body, until it is decided (1, 2, 6). Such
//   an answer may have been held back, so it is followed by a call of its own.
// - The device vouches for taking the seat and for giving it back. Without its word the place counts until its lease ends.
//
// What it leaves out, and the Python SDK has: storage, so that a restarted program takes its own seat back; waiting in line;
// checking features out after the start; borrowing.
#pragma once

#include <chrono>
#include <cmath>
#include <condition_variable>
#include <ctime>
#include <functional>
#include <iostream>
#include <mutex>
#include <random>
#include <thread>

#include "http.hpp"
#include "settings.hpp"
#include "text.hpp"

// A server understood us and said no, in a body that says why.
struct Refusal : std::runtime_error {
    Refusal(long status_, const json::Value& body, std::string server_)
        : std::runtime_error(body["details"].text()),
          status(status_),
          code(body["errorCode"].text()),
          server(std::move(server_)),
          denial(body["denial"]) {}

    // What a user reads: why, how full, who holds, what helps, and the id to quote.
    std::string explained() const;

    long status;
    std::string code, server;
    json::Value denial;

  private:
    void explain(std::ostream& out) const;
};

// What time it is by two clocks of this machine. Between two moments, the clock that counted more is right: one stops while a
// virtual machine is paused, the other can be set back.
struct Moment {
    double counted = count(), shown = show();

    double seconds_since() const { return std::max(count() - counted, show() - shown); }

  private:
    static double count() {
#ifdef CLOCK_BOOTTIME  // goes on while the machine sleeps
        timespec time{};
        clock_gettime(CLOCK_BOOTTIME, &time);
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
#else
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
#endif
    }
    static double show() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }
};

class Seat {
  public:
    using OnLoss = std::function<void(const std::string& why)>;

    Seat(settings::Settings wanted, std::string seat_id, trust::Features features, OnLoss on_loss)
        : settings_(std::move(wanted)),
          seat_id_(std::move(seat_id)),
          features_(std::move(features)),
          on_loss_(std::move(on_loss)) {
        take();
        keeper_ = std::thread([this] { keep(); });
    }

    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;

    ~Seat() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        keeper_.join();
        give_back();
    }

    // Whether this program may run right now.
    bool held() const {
        const std::lock_guard lock(mutex_);
        return !lost_ && sent_.seconds_since() < length();
    }

    // How much of a feature comes with the seat.
    std::int64_t feature(const std::string& key) const {
        const std::lock_guard lock(mutex_);
        const auto found = lease_.feat.find(key);
        return found == lease_.feat.end() ? 0 : found->second;
    }

    trust::Lease lease() const {
        const std::lock_guard lock(mutex_);
        return lease_;
    }

    const std::string& server() const { return server_; }

  private:
    static constexpr int start_attempts = 3;
    static constexpr double patience = 10.0;  // seconds for an answer

    double length() const { return lease_.exp - lease_.iat; }

    // --- taking the seat -------------------------------------------------------------------------------------------------

    // Ask one server after the other: the next is asked when one is full or unreachable.
    void take() {
        std::exception_ptr first_refusal, unreachable;
        for (const auto& server : settings_.servers) {
            server_ = server;
            try {
                return activate();
            } catch (const Refusal& refusal) {
                if (refusal.code != "seats.exhausted") throw;
                if (!first_refusal) first_refusal = std::current_exception();
            } catch (const http::Unreachable&) {
                unreachable = std::current_exception();
            }
        }
        std::rethrow_exception(first_refusal ? first_refusal : unreachable);
    }

    void activate() {
        const auto nonce = trust::fresh_nonce();
        const auto body = activate_body(nonce);
        const Moment asked;
        for (int attempt = 1;; ++attempt) {
            try {
                const auto reply = call("POST", "/api/v1/activate", body, {});
                return believe(reply, nonce, asked);
            } catch (const http::Unreachable&) {
                if (attempt == start_attempts) throw;
                std::this_thread::sleep_for(std::chrono::duration<double>(0.2 * attempt));
            }
        }
    }

    std::string activate_body(const std::string& nonce) const {
        std::vector<std::string> wanted;
        for (const auto& [key, amount] : features_)
            wanted.push_back("{\"key\":" + json::quoted(key) + ",\"amount\":" + std::to_string(amount) + "}");
        const auto vouched = json::list({json::quoted("seatkeeper-device"), json::quoted(settings_.tenant),
                                         json::quoted(settings_.product), json::quoted(seat_id_), json::quoted(nonce)});
        return "{\"productId\":" + json::quoted(settings_.product) + ",\"seatId\":" + json::quoted(seat_id_) +
               ",\"seatName\":" + json::quoted(seat_id_) + ",\"activationCredentials\":{\"type\":\"activationCode\",\"code\":" +
               json::quoted(settings_.code) + "},\"clientNonce\":" + json::quoted(nonce) +
               ",\"leaseTypes\":[\"tree\"],\"features\":" + json::list(wanted) +
               ",\"deviceKey\":" + json::quoted(device_.public_key()) + ",\"deviceProof\":" +
               json::quoted(device_.prove(vouched)) + "}";
    }

    // --- keeping it ------------------------------------------------------------------------------------------------------

    void keep() {
        Moment since = sent_;
        double due = jittered(length() / 3);
        int failures = 0;
        while (rest_until(since, due) && !is_lost()) {
            try {
                refresh();
                failures = 0, since = sent_, due = jittered(length() / 3);
            } catch (const Refusal& refusal) {  // the Python SDK activates once more; here, make a new Seat
                return lose(refusal.explained());
            } catch (const std::exception& trouble) {
                if (stopping_) return;
                std::cerr << "Refreshing failed, trying again: " << trouble.what() << std::endl;
                since = Moment(), due = jittered(std::min({length() / 10, 0.2 * std::pow(2, failures++), 30.0}));
            }
        }
    }

    // Rest; false when it is time to stop. The clocks are looked at often, since a timer sleeps through a suspend.
    bool rest_until(const Moment& since, double due) {
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            const double left = std::min(due - since.seconds_since(), length() - sent_.seconds_since());
            if (left <= 0) return true;
            wake_.wait_for(lock, std::chrono::duration<double>(std::min(left, 1.0)));
        }
        return false;
    }

    bool is_lost() {
        if (held()) return false;
        lose("the lease has ended and could not be refreshed");
        return true;
    }

    void refresh() {
        if (!pending_nonce_.empty()) send_refresh();  // unanswered so far: ask for its answer, word for word, which may be old
        pending_nonce_ = trust::fresh_nonce();
        pending_body_ = "{\"clientNonce\":" + json::quoted(pending_nonce_) + ",\"leaseTypes\":[\"tree\"],\"lastLease\":" +
                        json::quoted(token_of_lease_) + "}";
        pending_asked_ = Moment();
        send_refresh();
    }

    void send_refresh() {
        std::vector<std::string> headers{"Authorization: Bearer " + access_token_};
        if (!nonce_.empty()) headers.push_back("N-Nonce: " + nonce_);
        const auto timeout = std::min(patience, length() / 3);
        const auto reply = call("PATCH", "/api/v1/activation/refresh", pending_body_, headers, timeout);
        believe(reply, pending_nonce_, pending_asked_);
        pending_nonce_.clear();
    }

    void lose(const std::string& why) {
        {
            const std::lock_guard lock(mutex_);
            lost_ = true;
        }
        on_loss_(why);
    }

    // --- giving it back --------------------------------------------------------------------------------------------------

    void give_back() noexcept {
        stopping_ = false;  // this one call is not to be cut short
        try {
            const auto vouched = json::list({json::quoted("seatkeeper-device-return"), json::quoted(settings_.tenant),
                                             json::quoted(lease_.act), std::to_string(lease_.gen)});
            call("DELETE", "/api/v1/activation", "",
                 {"Authorization: Bearer " + access_token_, "Device-Proof: " + device_.prove(vouched)}, 3.0);
        } catch (const std::exception& trouble) {
            std::cerr << "The seat could not be given back and comes back when its lease ends: " << trouble.what() << std::endl;
        }
    }

    // --- talking and believing -------------------------------------------------------------------------------------------

    http::Reply call(const std::string& method, const std::string& path, const std::string& body,
                     std::vector<std::string> headers, double timeout = patience) {
        headers.push_back("N-TenantId: " + settings_.tenant);
        headers.push_back("Content-Type: application/json");
        const auto reply = client_.send({method, server_ + path, body, std::move(headers), timeout});
        if (reply.status >= 200 && reply.status < 300) return reply;
        if (reply.status >= 400 && reply.status < 500 && reply.status != 429) throw_refusal(reply);
        throw http::Unreachable(server_ + " answered " + std::to_string(reply.status));
    }

    // Only a body of ours refuses; the page of a proxy in between is no better than no answer.
    void throw_refusal(const http::Reply& reply) const {
        try {
            throw Refusal(reply.status, json::read(reply.body), server_);
        } catch (const json::Error&) {
            throw http::Unreachable(server_ + " answered " + std::to_string(reply.status) + ", not as a license server does");
        }
    }

    // Take an answer in if its lease is to be believed; the moment is that of its call's first sending.
    void believe(const http::Reply& reply, const std::string& nonce, const Moment& asked) {
        json::Value answer;
        try {
            answer = json::read(reply.body);
            const auto& token = answer["lease"].text();
            const auto certificate = answer["certificate"].null()
                                         ? certificate_
                                         : trust::check_certificate(answer["certificate"].text(), settings_.roots);
            const auto lease = trust::check_lease(
                token, certificate, {settings_.tenant, settings_.product, seat_id_, nonce, device_.public_key()});
            check_ours(lease);
            const std::lock_guard lock(mutex_);
            const auto left = [](const trust::Lease& given, const Moment& since) {
                return given.exp - given.iat - since.seconds_since();
            };
            const bool is_first = lease_.act.empty();
            if (is_first || left(lease, asked) >= left(lease_, sent_)) lease_ = lease, sent_ = asked;  // late shortens nothing
            certificate_ = certificate, token_of_lease_ = token, access_token_ = answer["accessToken"].text();
        } catch (const json::Error&) {
            throw trust::Untrusted("malformed");
        }
        if (const auto next = reply.headers.find("n-nonce"); next != reply.headers.end()) nonce_ = next->second;
    }

    // The first lease grants what was asked for; all others are of the same activation, since no refresh begins a new life.
    void check_ours(const trust::Lease& lease) const {
        if (!lease_.act.empty())
            return trust::require("activation", lease.act == lease_.act && lease.gen == lease_.gen);
        for (const auto& [key, amount] : features_) {
            const auto granted = lease.feat.find(key);
            trust::require("asked", granted != lease.feat.end() && granted->second >= amount);
        }
    }

    static double jittered(double seconds) {
        thread_local std::minstd_rand chance{std::random_device{}()};
        return seconds * std::uniform_real_distribution(0.8, 1.2)(chance);
    }

    const settings::Settings settings_;
    const std::string seat_id_;
    const trust::Features features_;  // asked for
    const trust::Device device_;
    const OnLoss on_loss_;
    std::atomic<bool> stopping_ = false;
    http::Client client_{settings_.ca_file, stopping_};
    std::string server_, access_token_, nonce_, pending_nonce_, pending_body_, token_of_lease_;
    Moment pending_asked_;

    mutable std::mutex mutex_;  // guards what follows: the keeper writes it, the program reads it
    std::condition_variable wake_;
    trust::Certificate certificate_;
    trust::Lease lease_;
    Moment sent_;  // when the call that got the lease was first sent
    bool lost_ = false;
    std::thread keeper_;
};

inline std::string Refusal::explained() const {
    std::ostringstream out;
    out << text::visible(what()) << " (" << text::visible(code) << ')';
    try {
        if (denial.object()) explain(out);
    } catch (const json::Error&) {
        out << "\n  (the rest of the explanation can't be read)";
    }
    return out.str();
}

inline void Refusal::explain(std::ostream& out) const {
    const auto total = [&](const char* name) {
        return denial[name].null() ? std::string("unlimited") : std::to_string(denial[name].integer());
    };
    const auto shown = [](const json::Value& value) { return text::visible(value.text()); };
    out << "\n  rule " << shown(denial["rule"]) << ": " << total("used") << " of " << total("limit") << " in use";
    if (!denial["holders"].null())
        for (const auto& holder : denial["holders"].array())
            out << "\n  " << shown(holder["seatName"]) << " since " << shown(holder["since"]);
    if (!denial["nextFreeBy"].null())
        out << "\n  the earliest lease ends and its place comes back by " << shown(denial["nextFreeBy"])
            << ", unless it is refreshed";
    if (!denial["remedies"].null())
        for (const auto& remedy : denial["remedies"].array()) out << "\n  to do: " << shown(remedy["text"]);
    out << "\n  refusal " << shown(denial["id"]) << " by " << server;
}
