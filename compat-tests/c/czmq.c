// czmq, libzmq's own binding for C: its sockets, messages, pollers and certificates.
//
// ZMQ is a broker in mode "ack"; ZMQ_REPLY one in mode "reply" that knows the keys which `czmq keys FOLDER` made.

#include <czmq.h>

#include "tap.h"

#define PATIENCE_MS 20000

static zsock_t *connected(int kind, const char *url)
{
    zsock_t *socket = zsock_new(kind);
    zsock_set_linger(socket, 0);
    zsock_set_rcvtimeo(socket, PATIENCE_MS);
    zsock_set_sndtimeo(socket, PATIENCE_MS);
    if (zsock_connect(socket, "%s", url) != 0)
        exit(2);
    return socket;
}

// Whether the next message is one part with that text.
static bool heard(zsock_t *socket, const char *text)
{
    char *found = zstr_recv(socket);
    bool equal = found && streq(found, text);
    if (!equal)
        printf("# expected %s, heard %s\n", text, found ? found : "nothing");
    zstr_free(&found);
    return equal;
}

static bool messages_of_a_pipeline_are_equal(void)
{
    zsock_t *push = connected(ZMQ_PUSH, given("ZMQ")), *pull = connected(ZMQ_PULL, given("ZMQ"));
    for (int n = 0; n < 500; n++) {
        zmsg_t *message = zmsg_new();
        zmsg_addstrf(message, "%d", n);
        zmsg_addmem(message, "", 0);
        zmsg_addmem(message, "\0\xff", 2);
        EXPECT(zmsg_send(&message, push) == 0);
    }
    for (int n = 0; n < 500; n++) {
        zmsg_t *message = zmsg_recv(pull);
        EXPECT(message && zmsg_size(message) == 3);
        char *number = zmsg_popstr(message);
        EXPECT(atoi(number) == n);
        zstr_free(&number);
        zframe_t *empty = zmsg_pop(message), *octets = zmsg_pop(message);
        EXPECT(zframe_size(empty) == 0 && zframe_size(octets) == 2);
        EXPECT(memcmp(zframe_data(octets), "\0\xff", 2) == 0);
        zframe_destroy(&empty);
        zframe_destroy(&octets);
        zmsg_destroy(&message);
    }
    zsock_destroy(&push);
    zsock_destroy(&pull);
    return true;
}

static bool a_poller_sees_what_a_subscriber_hears(void)
{
    zsock_t *publisher = connected(ZMQ_PUB, given("ZMQ")), *subscriber = connected(ZMQ_SUB, given("ZMQ"));
    zsock_set_subscribe(subscriber, "news");
    zpoller_t *poller = zpoller_new(subscriber, NULL);
    // A subscription is on its way for a while.
    for (int n = 0; n < 400; n++) {
        zstr_sendx(publisher, "news", "cat", NULL);
        if (zpoller_wait(poller, 50) == subscriber)
            break;
    }
    char *topic = NULL, *said = NULL;
    EXPECT(zstr_recvx(subscriber, &topic, &said, NULL) == 2);
    EXPECT(streq(topic, "news") && streq(said, "cat"));
    zstr_free(&topic);
    zstr_free(&said);
    zpoller_destroy(&poller);
    zsock_destroy(&publisher);
    zsock_destroy(&subscriber);
    return true;
}

static bool requests_are_answered_by_the_broker_and_by_workers(void)
{
    zsock_t *requester = connected(ZMQ_REQ, given("ZMQ"));
    EXPECT(zstr_send(requester, "request") == 0 && heard(requester, "OK"));
    zsock_destroy(&requester);
    requester = connected(ZMQ_REQ, given("ZMQ_REPLY"));
    zsock_t *worker = connected(ZMQ_ROUTER, given("ZMQ_REPLY"));
    EXPECT(zstr_send(requester, "request") == 0);
    // The envelope goes back as it came.
    zmsg_t *message = zmsg_recv(worker);
    EXPECT(message && zmsg_size(message) > 1);
    zframe_t *request = zmsg_last(message);
    EXPECT(zframe_streq(request, "request"));
    zframe_reset(request, "answer", 6);
    EXPECT(zmsg_send(&message, worker) == 0 && heard(requester, "answer"));
    zsock_destroy(&requester);
    zsock_destroy(&worker);
    return true;
}

static zsock_t *sealed(int kind)
{
    char *file = zsys_sprintf("%s/clients/guest.key", given("KEYS"));
    zcert_t *own = zcert_load(file);
    zstr_free(&file);
    file = zsys_sprintf("%s/server.key", given("KEYS"));
    zcert_t *server = zcert_load(file);
    zstr_free(&file);
    zsock_t *socket = zsock_new(kind);
    zsock_set_linger(socket, 0);
    zsock_set_rcvtimeo(socket, PATIENCE_MS);
    zcert_apply(own, socket);
    zsock_set_curve_serverkey(socket, zcert_public_txt(server));
    zsock_connect(socket, "%s", given("ZMQ_REPLY"));
    zcert_destroy(&own);
    zcert_destroy(&server);
    return socket;
}

static bool certificates_of_czmq_are_known(void)
{
    zsock_t *push = sealed(ZMQ_PUSH), *pull = sealed(ZMQ_PULL);
    EXPECT(zstr_send(push, "sealed") == 0 && heard(pull, "sealed"));
    zsock_destroy(&push);
    zsock_destroy(&pull);
    return true;
}

static bool PLAIN_logs_in(void)
{
    zsock_t *requester = zsock_new(ZMQ_REQ);
    zsock_set_linger(requester, 0);
    zsock_set_rcvtimeo(requester, PATIENCE_MS);
    zsock_set_plain_username(requester, "guest");
    zsock_set_plain_password(requester, "guest");
    EXPECT(zsock_connect(requester, "%s", given("ZMQ")) == 0);
    EXPECT(zstr_send(requester, "request") == 0 && heard(requester, "OK"));
    zsock_destroy(&requester);
    return true;
}

static int made_certificate(const char *folder, const char *name)
{
    zcert_t *certificate = zcert_new();
    char *path = zsys_sprintf("%s/%s", folder, name);
    zcert_set_meta(certificate, "made-by", "czmq");
    int made = zcert_save(certificate, path);
    zstr_free(&path);
    zcert_destroy(&certificate);
    return made;
}

static int made_keys(const char *folder)
{
    return zsys_dir_create("%s/clients", folder) || made_certificate(folder, "server.key")
        || made_certificate(folder, "clients/guest.key");
}

int main(int count, char **arguments)
{
    if (count == 3 && streq(arguments[1], "keys"))
        return made_keys(arguments[2]) ? 2 : 0;
    TEST(messages_of_a_pipeline_are_equal);
    TEST(a_poller_sees_what_a_subscriber_hears);
    TEST(requests_are_answered_by_the_broker_and_by_workers);
    TEST(certificates_of_czmq_are_known);
    TEST(PLAIN_logs_in);
    return done();
}
