//! The axes: what there are so many of.

use crate::{
    Cost,
    load::{Way, measured, publish},
    support::{
        amqp::{Client, Event},
        broker::Broker,
        kafka,
    },
};

const MESSAGES: u64 = 200_000;
const BODY: [u8; 100] = [b'x'; 100];
/// Of all bodies together.
const BODY_BYTES: u64 = 400_000_000;
const RECORDS_A_BATCH: u64 = 100;
/// Publishes of a backlog between two waits for its confirms.
const CONFIRM_EVERY: u64 = 10_000;

/// Messages in turn over so many queues.
pub(crate) fn queues(broker: &Broker, count: u64) -> Cost {
    let queues: Vec<String> = (0..count).map(|n| format!("q{n}")).collect();
    let publishes = queues.iter().map(|queue| publish("", queue, &BODY)).collect();
    Way::new(broker.doors().amqp, &queues, publishes).consume(&queues).pass(broker, MESSAGES)
}

/// So many connections that publish into one queue in turn.
pub(crate) fn connections(broker: &Broker, count: u64) -> Cost {
    let queues = ["q".to_owned()];
    let address = broker.doors().amqp;
    let mut way = Way::new(address, &queues, vec![publish("", "q", &BODY)]).consume(&queues);
    way.publishers = (0..count).map(|_| Client::connect(address).unwrap()).collect();
    way.pass(broker, MESSAGES)
}

/// So many bindings of a topic exchange, of which one matches.
pub(crate) fn bindings(broker: &Broker, count: u64) -> Cost {
    let queues = ["q".to_owned()];
    let mut way = Way::new(broker.doors().amqp, &queues, vec![publish("t", "a.b0.c", &BODY)]);
    way.consumer.declare_exchange("t", "topic").unwrap();
    for n in 0..count {
        way.consumer.bind("q", "t", &format!("*.b{n}.#")).unwrap();
    }
    way.consume(&queues).pass(broker, MESSAGES)
}

/// Messages through a queue in which so many others wait: published behind them, taken before them.
pub(crate) fn backlog(broker: &Broker, count: u64) -> Cost {
    let queues = ["q".to_owned()];
    let address = broker.doors().amqp;
    let way = Way::new(address, &queues, vec![publish("", "q", &BODY)]);
    fill(&mut Client::connect(address).unwrap(), count);
    way.consume(&queues).pass(broker, MESSAGES.min(5 * count))
}

fn fill(client: &mut Client, count: u64) {
    client.confirm_select().unwrap();
    let bytes = publish("", "q", &BODY);
    for n in 1..=count {
        client.wire().raw(&bytes);
        if n.is_multiple_of(CONFIRM_EVERY) || n == count {
            client.flush().unwrap();
            while !confirmed(client, n) {}
        }
    }
}

/// Whether the next confirm is, or covers, the last that is awaited.
fn confirmed(client: &mut Client, last: u64) -> bool {
    match client.next().unwrap() {
        Some(Event::Confirm { tag, ack: true, .. }) => tag == last,
        other => panic!("{other:?} came instead of a confirm"),
    }
}

/// Bodies of so many bytes.
pub(crate) fn body(broker: &Broker, bytes: u64) -> Cost {
    let queues = ["q".to_owned()];
    let body = vec![b'x'; usize::try_from(bytes).unwrap()];
    let messages = (BODY_BYTES / bytes).clamp(20, MESSAGES);
    Way::new(broker.doors().amqp, &queues, vec![publish("", "q", &body)])
        .consume(&queues)
        .pass(broker, messages)
}

/// Batches of records in turn over so many partitions of a topic, and all of them read again.
pub(crate) fn partitions(broker: &Broker, count: u64) -> Cost {
    let mut client = kafka::Client::connect(broker.doors().kafka).unwrap();
    client.create_topic_of("t", i32::try_from(count).unwrap()).unwrap();
    let batch = kafka::batch(&vec![BODY.to_vec(); usize::try_from(RECORDS_A_BATCH).unwrap()]);
    let messages = MESSAGES.max(count * RECORDS_A_BATCH);
    measured(broker, messages, || {
        for n in 0..messages / RECORDS_A_BATCH {
            let partition = i32::try_from(n % count).unwrap();
            let sent = client.produce_batch("t", partition, &batch).unwrap();
            assert_eq!(client.produced(sent).unwrap().error, 0);
        }
        for partition in 0..i32::try_from(count).unwrap() {
            let mut offset = 0;
            while offset < i64::try_from(messages / count).unwrap() {
                let fetched = client.fetch_from("t", partition, offset).unwrap();
                offset = fetched.records.last().unwrap().offset + 1;
            }
        }
    })
}
