//! What a script says, as frames: `queue.declare q durable {x-message-ttl=I5}`. The definitions are our own, so that the
//! door is not tested with its own codec. (AMQP 0-9-1 §1; RabbitMQ's extensions.)

use super::support::amqp::{key, long, short, table};

/// Kinds of arguments: `r` two reserved octets, `s` short string, `S` long string, `o` octet, `h` short, `w` long, `q`
/// long long, `t` table; words in parentheses are bits.
const METHODS: &[(&str, u16, u16, &str)] = &[
    ("connection.start-ok", 10, 11, "t s S s"),
    ("connection.secure-ok", 10, 21, "S"),
    ("connection.tune-ok", 10, 31, "h w h"),
    ("connection.open", 10, 40, "s z (insist)"),
    ("connection.close", 10, 50, "h s h h"),
    ("connection.close-ok", 10, 51, ""),
    ("connection.blocked", 10, 60, "s"),
    ("connection.update-secret", 10, 70, "S s"),
    ("channel.open", 20, 10, "z"),
    ("channel.flow", 20, 20, "(active)"),
    ("channel.flow-ok", 20, 21, "(active)"),
    ("channel.close", 20, 40, "h s h h"),
    ("channel.close-ok", 20, 41, ""),
    ("access.request", 30, 10, "s (exclusive passive active write read)"),
    ("exchange.declare", 40, 10, "r s s (passive durable auto_delete internal nowait) t"),
    ("exchange.delete", 40, 20, "r s (if_unused nowait)"),
    ("exchange.bind", 40, 30, "r s s s (nowait) t"),
    ("exchange.unbind", 40, 40, "r s s s (nowait) t"),
    ("queue.declare", 50, 10, "r s (passive durable exclusive auto_delete nowait) t"),
    ("queue.bind", 50, 20, "r s s s (nowait) t"),
    ("queue.purge", 50, 30, "r s (nowait)"),
    ("queue.delete", 50, 40, "r s (if_unused if_empty nowait)"),
    ("queue.unbind", 50, 50, "r s s s t"),
    ("basic.qos", 60, 10, "w h (global)"),
    ("basic.consume", 60, 20, "r s s (no_local no_ack exclusive nowait) t"),
    ("basic.cancel", 60, 30, "s (nowait)"),
    ("basic.cancel-ok", 60, 31, "s"),
    ("basic.publish", 60, 40, "r s s (mandatory immediate)"),
    ("basic.get", 60, 70, "r s (no_ack)"),
    ("basic.ack", 60, 80, "q (multiple)"),
    ("basic.reject", 60, 90, "q (requeue)"),
    ("basic.recover-async", 60, 100, "(requeue)"),
    ("basic.recover", 60, 110, "(requeue)"),
    ("basic.nack", 60, 120, "q (multiple requeue)"),
    ("confirm.select", 85, 10, "(nowait)"),
    ("confirm.select-ok", 85, 11, ""),
    ("tx.select", 90, 10, ""),
    ("tx.commit", 90, 20, ""),
    ("tx.rollback", 90, 30, ""),
];

/// A frame with any payload.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's length");
    [&[kind], &channel.to_be_bytes()[..], &length.to_be_bytes()[..], payload, &[0xce]].concat()
}

/// A line of a script as bytes. `#N` in front names the channel, 1 otherwise (0 for class connection).
pub(crate) fn bytes(line: &str) -> Vec<u8> {
    let mut words = words(line);
    let mut channel = None;
    if let Some(number) = words[0].strip_prefix('#') {
        channel = Some(number.parse().expect("a channel"));
        words.remove(0);
    }
    let command = words.remove(0);
    match command.as_str() {
        "raw" => words.iter().flat_map(|word| raw(word)).collect(),
        "heartbeat" => frame(8, channel.unwrap_or(0), &[]),
        "method" => {
            let ids: Vec<u16> = words[..2].iter().map(|w| w.parse().expect("an id")).collect();
            let rest: Vec<u8> = words[2..].iter().flat_map(|word| raw(word)).collect();
            frame(
                1,
                channel.unwrap_or(1),
                &[&ids[0].to_be_bytes()[..], &ids[1].to_be_bytes(), &rest].concat(),
            )
        }
        "header" => {
            let class: u16 = words[0].parse().expect("a class");
            let weight: u16 = option(&words, "weight").map_or(0, |w| w.parse().expect("a weight"));
            content_header(
                channel.unwrap_or(1),
                class,
                weight,
                words[1].parse().expect("a size"),
                &words[2..],
            )
        }
        "body" => frame(3, channel.unwrap_or(1), &body(&words[0])),
        "publish" => publish(channel.unwrap_or(1), words),
        name => method(channel, name, words),
    }
}

/// `publish EXCHANGE KEY [mandatory] [immediate] [property=…] [body=…]`: method, header and body frames.
fn publish(channel: u16, words: Vec<String>) -> Vec<u8> {
    let body = option(&words, "body").map_or_else(|| b"x".to_vec(), |text| body(&text));
    let bits = |w: &&String| matches!(w.as_str(), "mandatory" | "immediate");
    let plain = words[..2].iter().chain(words[2..].iter().filter(bits)).cloned().collect();
    let mut out = method(Some(channel), "basic.publish", plain);
    out.extend(content_header(channel, 60, 0, body.len() as u64, &words[2..]));
    body.chunks(4_000).for_each(|part| out.extend(frame(3, channel, part)));
    out
}

fn content_header(channel: u16, class: u16, weight: u16, size: u64, words: &[String]) -> Vec<u8> {
    let mut payload = [&class.to_be_bytes()[..], &weight.to_be_bytes(), &size.to_be_bytes()].concat();
    payload.extend(properties(words));
    frame(2, channel, &payload)
}

/// Name, bit and kind, in the order of the property list.
const PROPERTIES: &[(&str, u16, char)] = &[
    ("content_type", 15, 's'),
    ("content_encoding", 14, 's'),
    ("headers", 13, 't'),
    ("delivery_mode", 12, 'o'),
    ("priority", 11, 'o'),
    ("correlation_id", 10, 's'),
    ("reply_to", 9, 's'),
    ("expiration", 8, 's'),
    ("message_id", 7, 's'),
    ("timestamp", 6, 'q'),
    ("type", 5, 's'),
    ("user_id", 4, 's'),
    ("app_id", 3, 's'),
    ("cluster_id", 2, 's'),
];

fn properties(words: &[String]) -> Vec<u8> {
    let (mut flags, mut values) = (0_u16, Vec::new());
    for &(name, bit, kind) in PROPERTIES {
        if let Some(text) = option(words, name) {
            flags |= 1 << bit;
            argument(&mut values, kind, &text);
        }
    }
    [&flags.to_be_bytes()[..], &values].concat()
}

fn option(words: &[String], name: &str) -> Option<String> {
    let prefix = format!("{name}=");
    words.iter().find_map(|word| word.strip_prefix(&prefix)).map(str::to_owned)
}

/// `a*1000` is a thousand of them.
fn body(text: &str) -> Vec<u8> {
    match text.split_once('*') {
        Some((part, count)) => part.as_bytes().repeat(count.parse().expect("a count")),
        None => text.as_bytes().to_vec(),
    }
}

fn method(channel: Option<u16>, name: &str, mut words: Vec<String>) -> Vec<u8> {
    let &(_, class, id, kinds) =
        METHODS.iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("no method {name}"));
    let mut payload = [class.to_be_bytes(), id.to_be_bytes()].concat();
    let (before, rest) = kinds.split_once('(').unwrap_or((kinds, ""));
    let (bits, behind) = rest.split_once(')').unwrap_or(("", ""));
    arguments(&mut payload, before, &mut words);
    if !rest.is_empty() {
        let set = |(n, bit): (usize, &str)| {
            let at = words.iter().position(|word| word == bit)?;
            Some((at, 1_u8 << n))
        };
        let found: Vec<(usize, u8)> = bits.split(' ').enumerate().filter_map(set).collect();
        payload.push(found.iter().map(|(_, bit)| bit).sum());
        let mut at = 0;
        words.retain(|_| (at += 1, !found.iter().any(|(taken, _)| *taken == at - 1)).1);
    }
    arguments(&mut payload, behind, &mut words);
    assert!(words.is_empty(), "{name}: {words:?} is left over");
    frame(1, channel.unwrap_or(u16::from(class != 10)), &payload)
}

fn arguments(payload: &mut Vec<u8>, kinds: &str, words: &mut Vec<String>) {
    for kind in kinds.chars().filter(|kind| *kind != ' ') {
        match kind {
            'r' => payload.extend([0, 0]),
            'z' => payload.push(0),
            't' if !words.first().is_some_and(|word| word.starts_with('{')) => payload.extend([0; 4]),
            _ => {
                assert!(!words.is_empty(), "an argument of kind {kind} is missing");
                argument(payload, kind, &words.remove(0));
            }
        }
    }
}

fn argument(out: &mut Vec<u8>, kind: char, text: &str) {
    let number = || text.parse::<u64>().unwrap_or_else(|_| panic!("{text} is no number"));
    let last = |octets: usize| number().to_be_bytes()[8 - octets..].to_vec();
    match kind {
        's' => {
            let octets = unquoted(text);
            out.push(u8::try_from(octets.len()).expect("a short string"));
            out.extend(octets);
        }
        'S' => long(out, &unquoted(text)),
        'o' => out.extend(last(1)),
        'h' => out.extend(last(2)),
        'w' => out.extend(last(4)),
        'q' => out.extend(last(8)),
        't' => table(out, |fields| {
            for field in inside(text) {
                let (name, value) = field.split_once('=').expect("name=value");
                self::value(fields, Some(name), value);
            }
        }),
        _ => panic!("no kind {kind}"),
    }
}

/// `I5`, `Stext`, `t1`, `A[Sa,Sb]`, `F{a=I1}`, `V`, `D2:314` (3.14): the type's letter, then the value.
fn value(out: &mut Vec<u8>, name: Option<&str>, text: &str) {
    let (kind, text) = text.split_at(1);
    let octet = kind.as_bytes()[0];
    match name {
        Some(name) => key(out, name, octet),
        None => out.push(octet),
    }
    let number = || text.parse::<i64>().unwrap_or_else(|_| panic!("{text} is no number"));
    match kind {
        "b" | "B" | "t" => out.push(number().to_be_bytes()[7]),
        "s" | "u" => out.extend(&number().to_be_bytes()[6..]),
        "I" | "i" => out.extend(&number().to_be_bytes()[4..]),
        "l" | "L" | "T" => out.extend(number().to_be_bytes()),
        "f" => out.extend(text.parse::<f32>().expect("a fraction").to_be_bytes()),
        "d" => out.extend(text.parse::<f64>().expect("a fraction").to_be_bytes()),
        "D" => {
            let (scale, value) = text.split_once(':').expect("a scale and a value");
            out.push(scale.parse().expect("a scale"));
            out.extend(value.parse::<u32>().expect("a value").to_be_bytes());
        }
        "S" | "x" => long(out, &unquoted(text)),
        "V" => {}
        "F" => argument(out, 't', text),
        "A" => table(out, |items| inside(text).iter().for_each(|item| value(items, None, item))),
        _ => panic!("no type {kind}"),
    }
}

/// The parts of `{a,b}` or `[a,b]`, commas inside further brackets aside.
fn inside(text: &str) -> Vec<String> {
    let text = &text[1..text.len() - 1];
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in text.chars() {
        depth += i32::from(matches!(c, '{' | '[')) - i32::from(matches!(c, '}' | ']'));
        match parts.last_mut() {
            Some(_) if c == ',' && depth == 0 => parts.push(String::new()),
            Some(part) => part.push(c),
            None => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// `""` is empty, `a*255` repeats, `\r`, `\n`, `\0` and `\xff` are octets.
fn unquoted(text: &str) -> Vec<u8> {
    if text == "\"\"" {
        return Vec::new();
    }
    if let Some((part, count)) = text.split_once('*')
        && let Ok(count) = count.parse()
        && !part.is_empty()
    {
        return part.as_bytes().repeat(count);
    }
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((before, behind)) = rest.split_once('\\') {
        out.extend(before.as_bytes());
        let (escape, behind) = behind.split_at(1);
        rest = behind;
        match escape {
            "r" => out.push(b'\r'),
            "n" => out.push(b'\n'),
            "0" => out.push(0),
            "s" => out.push(b' '),
            "x" => {
                let (hex, behind) = rest.split_at(2);
                out.push(u8::from_str_radix(hex, 16).expect("two hex digits"));
                rest = behind;
            }
            other => panic!("no escape {other}"),
        }
    }
    out.extend(rest.as_bytes());
    out
}

/// Hex digits, or text behind a quote: `0114`, `'AMQP`.
pub(crate) fn raw(word: &str) -> Vec<u8> {
    if let Some(text) = word.strip_prefix('\'') {
        return unquoted(text);
    }
    let pair = |at: usize| u8::from_str_radix(&word[at..at + 2], 16).expect("hex digits");
    (0..word.len()).step_by(2).map(pair).collect()
}

/// Words of a line; spaces inside brackets belong to their word.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut depth, mut words) = (0, vec![String::new()]);
    for c in line.trim().chars() {
        depth += i32::from(matches!(c, '{' | '[')) - i32::from(matches!(c, '}' | ']'));
        match words.last_mut() {
            Some(_) if c == ' ' && depth == 0 => words.push(String::new()),
            Some(word) => word.push(c),
            None => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `connection.start-ok`: what the client says it understands, and who it is.
pub(crate) fn start_ok(mechanism: &str, response: &[u8], capabilities: &[&str]) -> Vec<u8> {
    let mut arguments = vec![0, 10, 0, 11];
    table(&mut arguments, |properties| {
        key(properties, "capabilities", b'F');
        table(properties, |fields| {
            for name in capabilities {
                key(fields, name, b't');
                fields.push(1);
            }
        });
    });
    short(&mut arguments, mechanism);
    long(&mut arguments, response);
    short(&mut arguments, "en_US");
    frame(1, 0, &arguments)
}
