// libzmq itself, as its guide calls it: every pattern and every mechanism, without a binding in between.
//
// ZMQ is a broker in mode "ack"; ZMQ_REPLY one in mode "reply" that knows the keys which `libzmq keys FOLDER` made.

#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#include "tap.h"

#define KEY_CHARS 41
#define SEPARATOR "|"

static void *context;

static void *opened(int kind)
{
    void *socket = zmq_socket(context, kind);
    int linger_ms = 0, patience_ms = 20000;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
    zmq_setsockopt(socket, ZMQ_SNDTIMEO, &patience_ms, sizeof patience_ms);
    return socket;
}

static void *connected(int kind, const char *url)
{
    void *socket = opened(kind);
    if (zmq_connect(socket, url) != 0) {
        fprintf(stderr, "%s: %s\n", url, zmq_strerror(zmq_errno()));
        exit(2);
    }
    return socket;
}

// Sends a message whose parts are between separators.
static bool sent(void *socket, const char *parts)
{
    for (;;) {
        size_t bytes = strcspn(parts, SEPARATOR);
        bool more = parts[bytes] != 0;
        if (zmq_send(socket, parts, bytes, more ? ZMQ_SNDMORE : 0) != (int)bytes)
            return false;
        if (!more)
            return true;
        parts += bytes + 1;
    }
}

// Whether the next message is that, part by part.
static bool heard(void *socket, const char *parts)
{
    char all[1024] = "";
    int more = 1;
    while (more) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, 0) < 0) {
            printf("# nothing came: %s\n", zmq_strerror(zmq_errno()));
            return false;
        }
        strncat(all, zmq_msg_data(&part), zmq_msg_size(&part));
        more = zmq_msg_more(&part);
        if (more)
            strcat(all, SEPARATOR);
        zmq_msg_close(&part);
    }
    if (strcmp(all, parts) != 0)
        printf("# expected %s, heard %s\n", parts, all);
    return strcmp(all, parts) == 0;
}

static bool a_pipeline_keeps_order_and_parts(void)
{
    void *push = connected(ZMQ_PUSH, given("ZMQ")), *pull = connected(ZMQ_PULL, given("ZMQ"));
    char text[32];
    for (int n = 0; n < 2000; n++) {
        snprintf(text, sizeof text, n % 3 ? "%d" : "%d||tail", n);
        EXPECT(sent(push, text));
    }
    EXPECT(sent(push, ""));
    for (int n = 0; n < 2000; n++) {
        snprintf(text, sizeof text, n % 3 ? "%d" : "%d||tail", n);
        EXPECT(heard(pull, text));
    }
    EXPECT(heard(pull, ""));
    zmq_close(push);
    zmq_close(pull);
    return true;
}

static bool a_large_message_comes_through_whole(void)
{
    void *push = connected(ZMQ_PUSH, given("ZMQ")), *pull = connected(ZMQ_PULL, given("ZMQ"));
    size_t bytes = 8 << 20;
    char *large = malloc(bytes);
    for (size_t n = 0; n < bytes; n++)
        large[n] = (char)(n * 31 >> 3);
    EXPECT(zmq_send(push, "head", 4, ZMQ_SNDMORE) == 4);
    EXPECT(zmq_send(push, large, bytes, 0) == (int)bytes);
    EXPECT(zmq_recv(pull, (char[4]){0}, 4, 0) == 4);
    zmq_msg_t part;
    zmq_msg_init(&part);
    EXPECT(zmq_msg_recv(&part, pull, 0) == (int)bytes);
    EXPECT(memcmp(zmq_msg_data(&part), large, bytes) == 0);
    zmq_msg_close(&part);
    free(large);
    zmq_close(push);
    zmq_close(pull);
    return true;
}

// Publishes until a subscriber hears it: a subscription is on its way for a while.
static bool subscribed(void *publisher, void *subscriber, const char *topic)
{
    zmq_pollitem_t item = {subscriber, 0, ZMQ_POLLIN, 0};
    for (int n = 0; n < 400; n++) {
        sent(publisher, topic);
        if (zmq_poll(&item, 1, 50) == 1)
            break;
    }
    char end[64], last[64];
    snprintf(end, sizeof end, "%s-end", topic);
    sent(publisher, end);
    do {
        int bytes = zmq_recv(subscriber, last, sizeof last - 1, 0);
        if (bytes < 0)
            return false;
        last[bytes] = 0;
    } while (strcmp(last, end) != 0);
    return true;
}

static bool patterns_of_publishing(int publishes, int subscribes)
{
    void *publisher = connected(publishes, given("ZMQ")), *subscriber = connected(subscribes, given("ZMQ"));
    if (subscribes == ZMQ_SUB)
        EXPECT(zmq_setsockopt(subscriber, ZMQ_SUBSCRIBE, "news", 4) == 0);
    else
        EXPECT(sent(subscriber, "\x01news"));
    EXPECT(subscribed(publisher, subscriber, "news"));
    EXPECT(sent(publisher, "weather|rain"));
    EXPECT(sent(publisher, "news.local||cat"));
    EXPECT(heard(subscriber, "news.local||cat"));
    zmq_close(publisher);
    zmq_close(subscriber);
    return true;
}

static bool a_subscriber_hears_what_begins_with_its_prefix(void)
{
    return patterns_of_publishing(ZMQ_PUB, ZMQ_SUB) && patterns_of_publishing(ZMQ_XPUB, ZMQ_XSUB);
}

static bool a_request_is_answered_OK_once_stored(void)
{
    void *requester = connected(ZMQ_REQ, given("ZMQ"));
    for (int n = 0; n < 3; n++) {
        EXPECT(sent(requester, "two|parts"));
        EXPECT(heard(requester, "OK"));
    }
    zmq_close(requester);
    return true;
}

static bool a_dealer_gets_its_envelopes_back(void)
{
    void *dealer = opened(ZMQ_DEALER);
    zmq_setsockopt(dealer, ZMQ_ROUTING_ID, "me", 2);
    EXPECT(zmq_connect(dealer, given("ZMQ")) == 0);
    char text[32];
    for (int n = 0; n < 500; n++) {
        snprintf(text, sizeof text, "%d||request", n);
        EXPECT(sent(dealer, text));
    }
    for (int n = 0; n < 500; n++) {
        snprintf(text, sizeof text, "%d||OK", n);
        EXPECT(heard(dealer, text));
    }
    zmq_close(dealer);
    return true;
}

static bool a_REP_answers_a_REQ_through_the_broker(void)
{
    void *requester = connected(ZMQ_REQ, given("ZMQ_REPLY")), *worker = connected(ZMQ_REP, given("ZMQ_REPLY"));
    for (int n = 0; n < 100; n++) {
        EXPECT(sent(requester, "a|question"));
        EXPECT(heard(worker, "a|question"));
        EXPECT(sent(worker, "an||answer"));
        EXPECT(heard(requester, "an||answer"));
    }
    zmq_close(worker);
    zmq_close(requester);
    return true;
}

// A ROUTER takes requests with their envelopes, and answers them out of order.
static bool a_ROUTER_answers_a_DEALER_in_any_order(void)
{
    void *dealer = connected(ZMQ_DEALER, given("ZMQ_REPLY")), *router = connected(ZMQ_ROUTER, given("ZMQ_REPLY"));
    enum { REQUESTS = 3, FRAMES_MAX = 8 };
    char frames[REQUESTS][FRAMES_MAX][256];
    int bytes[REQUESTS][FRAMES_MAX], count[REQUESTS];
    EXPECT(sent(dealer, "0||request") && sent(dealer, "1||request") && sent(dealer, "2||request"));
    for (int n = 0; n < REQUESTS; n++) {
        int more = 1;
        size_t size = sizeof more;
        for (count[n] = 0; more; count[n]++) {
            EXPECT(count[n] < FRAMES_MAX);
            bytes[n][count[n]] = zmq_recv(router, frames[n][count[n]], 256, 0);
            EXPECT(bytes[n][count[n]] >= 0);
            zmq_getsockopt(router, ZMQ_RCVMORE, &more, &size);
        }
        EXPECT(memcmp(frames[n][count[n] - 1], "request", 7) == 0);
    }
    for (int n = REQUESTS - 1; n >= 0; n--) {
        for (int frame = 0; frame < count[n] - 1; frame++)
            EXPECT(zmq_send(router, frames[n][frame], bytes[n][frame], ZMQ_SNDMORE) >= 0);
        EXPECT(sent(router, "answer"));
    }
    EXPECT(heard(dealer, "2||answer") && heard(dealer, "1||answer") && heard(dealer, "0||answer"));
    zmq_close(dealer);
    zmq_close(router);
    return true;
}

// How a socket's handshake ends: the event, and the status that the broker gave with it.
static bool refused(void *socket, const char *url, int status)
{
    int ends = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
        | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
    EXPECT(zmq_socket_monitor(socket, "inproc://monitor", ends) == 0);
    void *monitor = opened(ZMQ_PAIR);
    EXPECT(zmq_connect(monitor, "inproc://monitor") == 0);
    EXPECT(zmq_connect(socket, url) == 0);
    unsigned char told[6];
    char endpoint[256];
    EXPECT(zmq_recv(monitor, told, sizeof told, 0) == sizeof told);
    EXPECT(zmq_recv(monitor, endpoint, sizeof endpoint, 0) >= 0);
    uint16_t event;
    uint32_t value;
    memcpy(&event, told, sizeof event);
    memcpy(&value, told + sizeof event, sizeof value);
    EXPECT(event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH && value == (uint32_t)status);
    zmq_socket_monitor(socket, NULL, 0);
    zmq_close(monitor);
    zmq_close(socket);
    return true;
}

static void *with_password(int kind, const char *user, const char *password)
{
    void *socket = opened(kind);
    zmq_setsockopt(socket, ZMQ_PLAIN_USERNAME, user, strlen(user));
    zmq_setsockopt(socket, ZMQ_PLAIN_PASSWORD, password, strlen(password));
    return socket;
}

static bool PLAIN_logs_in_with_the_users_of_the_broker(void)
{
    void *push = with_password(ZMQ_PUSH, "guest", "guest"), *pull = with_password(ZMQ_PULL, "/:guest", "guest");
    EXPECT(zmq_connect(push, given("ZMQ")) == 0 && zmq_connect(pull, given("ZMQ")) == 0);
    EXPECT(sent(push, "hello|world"));
    EXPECT(heard(pull, "hello|world"));
    zmq_close(push);
    zmq_close(pull);
    return refused(with_password(ZMQ_PUSH, "guest", "wrong"), given("ZMQ"), 400);
}

// A key of a certificate that `keys` made.
static void key_of(const char *name, const char *kind, char key[KEY_CHARS])
{
    char path[512], line[256];
    snprintf(path, sizeof path, "%s/%s", given("KEYS"), name);
    FILE *file = fopen(path, "r");
    key[0] = 0;
    while (file && fgets(line, sizeof line, file)) {
        char *at = strstr(line, kind), *quote = at ? strchr(at, '"') : NULL;
        if (quote)
            snprintf(key, KEY_CHARS, "%s", quote + 1);
    }
    if (file)
        fclose(file);
}

static void *sealed(int kind, const char *certificate)
{
    char server[KEY_CHARS], public[KEY_CHARS], secret[KEY_CHARS];
    key_of("server.key_secret", "public-key", server);
    key_of(certificate, "public-key", public);
    key_of(certificate, "secret-key", secret);
    void *socket = opened(kind);
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server, KEY_CHARS);
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public, KEY_CHARS);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret, KEY_CHARS);
    return socket;
}

static bool CURVE_knows_the_server_and_its_clients(void)
{
    const char *known = "clients/guest.key_secret", *url = given("ZMQ_REPLY");
    void *push = sealed(ZMQ_PUSH, known), *pull = sealed(ZMQ_PULL, known);
    EXPECT(zmq_connect(push, url) == 0 && zmq_connect(pull, url) == 0);
    for (int n = 0; n < 200; n++)
        EXPECT(sent(push, "sealed||parts"));
    for (int n = 0; n < 200; n++)
        EXPECT(heard(pull, "sealed||parts"));
    zmq_close(push);
    zmq_close(pull);
    void *requester = sealed(ZMQ_REQ, known), *worker = sealed(ZMQ_REP, known);
    EXPECT(zmq_connect(requester, url) == 0 && zmq_connect(worker, url) == 0);
    EXPECT(sent(requester, "question") && heard(worker, "question"));
    EXPECT(sent(worker, "answer") && heard(requester, "answer"));
    zmq_close(requester);
    zmq_close(worker);
    return refused(sealed(ZMQ_PUSH, "unknown.key_secret"), url, 400);
}

// A certificate as czmq writes it: NAME is for others, NAME_secret is not.
static int made_certificate(const char *folder, const char *name)
{
    char public[KEY_CHARS], secret[KEY_CHARS], path[512];
    if (zmq_curve_keypair(public, secret) != 0)
        return 2;
    for (int with_secret = 0; with_secret < 2; with_secret++) {
        snprintf(path, sizeof path, "%s/%s%s", folder, name, with_secret ? "_secret" : "");
        FILE *file = fopen(path, "w");
        if (!file)
            return 2;
        fprintf(file, "metadata\ncurve\n    public-key = \"%s\"\n", public);
        if (with_secret)
            fprintf(file, "    secret-key = \"%s\"\n", secret);
        fclose(file);
    }
    return 0;
}

static int made_keys(const char *folder)
{
    char clients[512];
    snprintf(clients, sizeof clients, "%s/clients", folder);
    mkdir(clients, 0700);
    return made_certificate(folder, "server.key") || made_certificate(folder, "clients/guest.key")
        || made_certificate(folder, "unknown.key");
}

int main(int count, char **arguments)
{
    if (count == 3 && strcmp(arguments[1], "keys") == 0)
        return made_keys(arguments[2]);
    context = zmq_ctx_new();
    TEST(a_pipeline_keeps_order_and_parts);
    TEST(a_large_message_comes_through_whole);
    TEST(a_subscriber_hears_what_begins_with_its_prefix);
    TEST(a_request_is_answered_OK_once_stored);
    TEST(a_dealer_gets_its_envelopes_back);
    TEST(a_REP_answers_a_REQ_through_the_broker);
    TEST(a_ROUTER_answers_a_DEALER_in_any_order);
    TEST(PLAIN_logs_in_with_the_users_of_the_broker);
    TEST(CURVE_knows_the_server_and_its_clients);
    return done();
}
