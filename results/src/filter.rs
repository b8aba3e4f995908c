//! Which verdicts are wanted, as an expression: `state == open and port < 1024`, `not (port in [22, 80-89] or suspect !=
//! none)`. Operators are `== != < <= > >= in`, `and or not` (or `&& || !`), parentheses. What a verdict does not have
//! equals `none` and nothing else. Names and kinds are checked when the text is read, and errors say where.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;

use crate::address::Range;
use crate::field::{Field, Kind, Value};
use crate::record::{Show, State, Verdict};

/// An expression that holds of some verdicts.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    text: String,
    root: Node,
}

impl Filter {
    /// Whether it holds of this verdict.
    pub fn accepts(&self, verdict: &Verdict) -> bool {
        self.root.holds(verdict)
    }

    /// Of which states a verdict can be of which it holds; none if it does not speak of states.
    pub fn states(&self) -> Option<Show> {
        let can = |state| self.root.prospects(state).0;
        let [open, closed, filtered] = State::ALL.map(can);
        self.root.speaks_of(Field::State).then_some(Show { open, closed, filtered, down: false })
    }
}

/// As it was typed.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct Malformed {
    /// The character at which it went wrong, from 1.
    pub column: usize,
    /// What is wrong, and what could stand there.
    pub problem: String,
}

impl FromStr for Filter {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Filter, Malformed> {
        let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
        let root = parser.any()?;
        match parser.peek() {
            Token { word: Word::End, .. } => Ok(Filter { text: text.trim().into(), root }),
            token => Err(token.wrong("expected and, or, or the end")),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Any(Vec<Node>),
    All(Vec<Node>),
    Not(Box<Node>),
    Compare(Field, Operator, Constant),
    In(Field, Vec<Constant>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Constant {
    None,
    Addresses(Range),
    Numbers(u64, u64),
    State(State),
    Word(String),
    Time(Timestamp),
}

impl Node {
    fn holds(&self, verdict: &Verdict) -> bool {
        match self {
            Node::Any(nodes) => nodes.iter().any(|node| node.holds(verdict)),
            Node::All(nodes) => nodes.iter().all(|node| node.holds(verdict)),
            Node::Not(node) => !node.holds(verdict),
            Node::Compare(field, operator, constant) => operator.holds(field.of(verdict), constant),
            Node::In(field, constants) => {
                constants.iter().any(|constant| Operator::Equal.holds(field.of(verdict), constant))
            }
        }
    }
}

impl Node {
    fn speaks_of(&self, field: Field) -> bool {
        match self {
            Node::Any(nodes) | Node::All(nodes) => nodes.iter().any(|node| node.speaks_of(field)),
            Node::Not(node) => node.speaks_of(field),
            Node::Compare(of, ..) | Node::In(of, _) => *of == field,
        }
    }

    /// Whether it can hold of a verdict of this state, and whether it can fail to, whatever else the verdict has.
    fn prospects(&self, state: State) -> (bool, bool) {
        let all = |nodes: &[Node]| nodes.iter().map(|node| node.prospects(state)).collect::<Vec<_>>();
        let equals = |constant: &Constant| Operator::Equal.holds(Some(Value::State(state)), constant);
        let known = |holds: bool| (holds, !holds);
        match self {
            Node::Any(nodes) => (all(nodes).iter().any(|node| node.0), all(nodes).iter().all(|node| node.1)),
            Node::All(nodes) => (all(nodes).iter().all(|node| node.0), all(nodes).iter().any(|node| node.1)),
            Node::Not(node) => (node.prospects(state).1, node.prospects(state).0),
            Node::Compare(Field::State, operator, constant) => {
                known(operator.holds(Some(Value::State(state)), constant))
            }
            Node::In(Field::State, constants) => known(constants.iter().any(equals)),
            _ => (true, true),
        }
    }
}

impl Operator {
    fn named(text: &str) -> Option<Operator> {
        Some(match text {
            "==" | "=" => Operator::Equal,
            "!=" => Operator::Unequal,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            _ => return None,
        })
    }

    fn orders(self) -> bool {
        !matches!(self, Operator::Equal | Operator::Unequal)
    }

    fn holds(self, value: Option<Value<'_>>, constant: &Constant) -> bool {
        let order = constant.order(value);
        match self {
            Operator::Equal => order == Some(Ordering::Equal),
            Operator::Unequal => order != Some(Ordering::Equal),
            Operator::Less => order == Some(Ordering::Less),
            Operator::LessOrEqual => order.is_some_and(Ordering::is_le),
            Operator::Greater => order == Some(Ordering::Greater),
            Operator::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl Constant {
    /// How a value stands to this: equal where it is within. None where they cannot be compared.
    fn order(&self, value: Option<Value<'_>>) -> Option<Ordering> {
        match (value, self) {
            (None, Constant::None) => Some(Ordering::Equal),
            (Some(Value::Address(address)), Constant::Addresses(range)) => {
                same_family(address, range).then(|| within(address, range.first(), range.last()))
            }
            (Some(Value::Number(number)), Constant::Numbers(first, last)) => Some(within(number, *first, *last)),
            (Some(Value::State(state)), Constant::State(other)) => (state == *other).then_some(Ordering::Equal),
            (Some(Value::Word(word)), Constant::Word(other)) => (word == other).then_some(Ordering::Equal),
            (Some(Value::Time(time)), Constant::Time(other)) => Some(time.cmp(other)),
            _ => None,
        }
    }
}

fn same_family(address: IpAddr, range: &Range) -> bool {
    address.is_ipv4() == range.first().is_ipv4()
}

fn within<T: Ord + Copy>(value: T, first: T, last: T) -> Ordering {
    match () {
        () if value < first => Ordering::Less,
        () if value > last => Ordering::Greater,
        () => Ordering::Equal,
    }
}

/// A word and where it stands.
#[derive(Debug, Clone, PartialEq)]
struct Token {
    column: usize,
    word: Word,
}

#[derive(Debug, Clone, PartialEq)]
enum Word {
    /// Letters, digits, and what addresses, ranges and times have.
    Bare(String),
    Quoted(String),
    Symbol(&'static str),
    End,
}

impl Token {
    fn wrong(&self, expected: impl fmt::Display) -> Malformed {
        let found = match &self.word {
            Word::Bare(word) => format!("found {word}"),
            Word::Quoted(text) => format!("found {text:?}"),
            Word::Symbol(symbol) => format!("found {symbol}"),
            Word::End => "the expression ends".into(),
        };
        Malformed { column: self.column, problem: format!("{expected}; {found}") }
    }

    fn is(&self, words: &[&str]) -> bool {
        match &self.word {
            Word::Bare(word) => words.contains(&word.as_str()),
            Word::Symbol(symbol) => words.contains(symbol),
            _ => false,
        }
    }
}

/// The longer ones first.
const SYMBOLS: [&str; 15] = ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "=", "!", "(", ")", "[", "]", ","];

fn tokens(text: &str) -> Result<Vec<Token>, Malformed> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let column = |rest: &str| text[..text.len() - rest.len()].chars().count() + 1;
    while let Some(first) = rest.trim_start().chars().next() {
        rest = rest.trim_start();
        let at = column(rest);
        let (word, length) = if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            (Word::Symbol(symbol), symbol.len())
        } else if first == '"' || first == '\'' {
            let end = rest[1..].find(first);
            let end = end.ok_or_else(|| Malformed { column: at, problem: format!("this {first} is not closed") })?;
            (Word::Quoted(rest[1..=end].into()), end + 2)
        } else {
            let end = rest.find(|c: char| !c.is_alphanumeric() && !"_-.:/+".contains(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(Malformed { column: at, problem: format!("{first:?} means nothing here") });
            }
            (Word::Bare(rest[..end].into()), end)
        };
        tokens.push(Token { column: at, word });
        rest = &rest[length..];
    }
    tokens.push(Token { column: text.trim_end().chars().count() + 1, word: Word::End });
    Ok(tokens)
}

/// Deeper nesting is nobody's filter, and would take the stack.
const DEEPEST: usize = 64;

struct Parser {
    /// The last one is the end.
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn take_if(&mut self, words: &[&str]) -> bool {
        let is = self.peek().is(words);
        self.next += usize::from(is);
        is
    }

    fn any(&mut self) -> Result<Node, Malformed> {
        let mut nodes = vec![self.all()?];
        while self.take_if(&["or", "||"]) {
            nodes.push(self.all()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Any(nodes) })
    }

    fn all(&mut self) -> Result<Node, Malformed> {
        let mut nodes = vec![self.one()?];
        while self.take_if(&["and", "&&"]) {
            nodes.push(self.one()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes) })
    }

    fn one(&mut self) -> Result<Node, Malformed> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.peek().wrong(format!("more than {DEEPEST} levels")));
        }
        let node = match () {
            () if self.take_if(&["not", "!"]) => Node::Not(Box::new(self.one()?)),
            () if self.take_if(&["("]) => {
                let node = self.any()?;
                self.expect(")")?;
                node
            }
            () => self.comparison()?,
        };
        self.depth -= 1;
        Ok(node)
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), Malformed> {
        if self.take_if(&[symbol]) { Ok(()) } else { Err(self.peek().wrong(format!("expected {symbol}"))) }
    }

    fn comparison(&mut self) -> Result<Node, Malformed> {
        let token = self.take();
        let Word::Bare(name) = &token.word else { return Err(token.wrong("expected a field, not, or (")) };
        let field: Field = name.parse().map_err(|problem| Malformed { column: token.column, problem })?;
        let sign = self.take();
        match &sign.word {
            Word::Bare(word) if word == "in" => Ok(Node::In(field, self.list(field)?)),
            Word::Symbol(symbol) => {
                let operator = Operator::named(symbol).ok_or_else(|| sign.wrong(OPERATORS))?;
                if operator.orders() && matches!(field.kind(), Kind::State | Kind::Word) {
                    return Err(sign.wrong(format!("{name} has no order; expected ==, != or in")));
                }
                let value = self.peek().clone();
                let constant = self.constant(field)?;
                if operator.orders() && constant == Constant::None {
                    return Err(value.wrong("none has no order"));
                }
                Ok(Node::Compare(field, operator, constant))
            }
            _ => Err(sign.wrong(OPERATORS)),
        }
    }

    fn list(&mut self, field: Field) -> Result<Vec<Constant>, Malformed> {
        self.expect("[")?;
        let mut constants = Vec::new();
        while !self.take_if(&["]"]) {
            if !constants.is_empty() {
                self.expect(",")?;
            }
            constants.push(self.constant(field)?);
        }
        Ok(constants)
    }

    fn constant(&mut self, field: Field) -> Result<Constant, Malformed> {
        let token = self.take();
        let text = match &token.word {
            Word::Bare(word) if word == "none" => return Ok(Constant::None),
            Word::Bare(text) | Word::Quoted(text) => text,
            _ => return Err(token.wrong(expected(field))),
        };
        constant(field, text).ok_or_else(|| token.wrong(expected(field)))
    }
}

const OPERATORS: &str = "expected one of == != < <= > >= in";

fn constant(field: Field, text: &str) -> Option<Constant> {
    match field.kind() {
        Kind::Address => text.parse().ok().map(Constant::Addresses),
        Kind::Number => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(Constant::Numbers(first, last))
        }
        Kind::State => State::named(text).map(Constant::State),
        Kind::Word => Some(Constant::Word(text.into())),
        Kind::Time => text.parse().ok().map(Constant::Time),
    }
}

fn expected(field: Field) -> String {
    let what = match field.kind() {
        Kind::Address => "an address, prefix or range",
        Kind::Number => "a number, or a range such as 80-89",
        Kind::State => "open, closed or filtered",
        Kind::Word => "a word",
        Kind::Time => "a time such as 2026-01-31T12:00:00Z",
    };
    format!("{} is compared with {what}", field.name())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scan::samples;

    fn holds(text: &str) -> bool {
        text.parse::<Filter>().unwrap_or_else(|error| panic!("{text}: {error}")).accepts(&samples::full())
    }

    /// Of 192.0.2.9:25, filtered by an ICMP error of 192.0.2.254, TTL 63, superseding closed.
    #[test]
    fn what_holds() {
        for text in [
            "state == filtered",
            "state=filtered",
            "state == 'filtered' and port == 25",
            "port<26&&port>24",
            "port in [1-24, 25]",
            "port == 20-29",
            "address == 192.0.2.0/24",
            "address in [10.0.0.0/8, 192.0.2.9]",
            "address > 192.0.2.8 and address <= 192.0.2.9",
            "address != 2001:db8::/32",
            "sender != none",
            "not (state == open or state == closed)",
            "!(state == open) && !port == 24",
            "reason == admin-prohibited",
            "reason in [\"admin-prohibited\"]",
            "supersedes == closed",
            "time >= 2023-11-14T22:13:20Z and time < 2023-11-14T22:13:21Z",
            "state == open and port == 1 or port == 25",
        ] {
            assert!(holds(text), "{text}");
        }
        for text in [
            "state == open",
            "port in []",
            "suspect == none",
            "address < ::1",
            "state == filtered and (port == 1 or port == 2)",
            "rtt_us > 1500",
            "not state == filtered",
        ] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn what_is_missing_equals_none_only() {
        let holds = |text: &str| text.parse::<Filter>().unwrap().accepts(&samples::bare());
        for text in ["rtt_us == none", "rtt_us != 5", "suspect in [forged, none]", "not rtt_us < 5", "not ttl >= 0"] {
            assert!(holds(text), "{text}");
        }
        assert!(!holds("ttl != none") && !holds("suspect == forged"));
    }

    #[test]
    fn which_states_it_speaks_of() {
        let states = |text: &str| text.parse::<Filter>().unwrap().states().map(Show::names);
        for (text, expected) in [
            ("state == closed", vec!["closed"]),
            ("state != open", vec!["closed", "filtered"]),
            ("not (state == open or port < 9)", vec!["closed", "filtered"]),
            ("state in [open, filtered] and ttl > 9", vec!["open", "filtered"]),
            ("state == closed or port == 80", vec!["open", "closed", "filtered"]),
            ("state == open and not port == 80", vec!["open"]),
            ("state == open and state == closed", vec![]),
        ] {
            assert_eq!(states(text), Some(expected), "{text}");
        }
        assert_eq!(states("port < 1024 and not suspect == none"), None);
    }

    #[test]
    fn errors_say_where() {
        let known = Field::listed();
        for (text, expected) in [
            ("", "column 1: expected a field, not, or (; the expression ends".into()),
            ("prot == 1", format!("column 1: there is no field \"prot\"; there are {known}")),
            ("state == opne", "column 10: state is compared with open, closed or filtered; found opne".into()),
            ("port == http", "column 9: port is compared with a number, or a range such as 80-89; found http".into()),
            ("port 80", "column 6: expected one of == != < <= > >= in; found 80".into()),
            (
                "port ==",
                "column 8: port is compared with a number, or a range such as 80-89; the expression ends".into(),
            ),
            ("port in 80", "column 9: expected [; found 80".into()),
            ("port in [80 81]", "column 13: expected ,; found 81".into()),
            ("(port == 1", "column 11: expected ); the expression ends".into()),
            ("port == 1)", "column 10: expected and, or, or the end; found )".into()),
            ("port == 1 port == 2", "column 11: expected and, or, or the end; found port".into()),
            ("state < open", "column 7: state has no order; expected ==, != or in; found <".into()),
            ("ttl < none", "column 7: none has no order; found none".into()),
            ("reason == \"rst", "column 11: this \" is not closed".into()),
            ("port == 1 and ?", "column 15: '?' means nothing here".into()),
            ("port == 9-1", "column 9: port is compared with a number, or a range such as 80-89; found 9-1".into()),
        ] {
            assert_eq!(text.parse::<Filter>().unwrap_err().to_string(), expected, "{text}");
        }
        let deep = "(".repeat(100_000);
        assert!(deep.parse::<Filter>().unwrap_err().to_string().contains("more than 64 levels"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}", words in prop::collection::vec(prop::sample::select(vec![
            "port", "state", "address", "==", "<", "in", "[", "]", "(", ")", "and", "or", "not", "!", "80", "open",
            "1.2.3.0/24", "'", "\"x\"", ",", "none", "é", "-",
        ]), 0..16)) {
            let _ = text.parse::<Filter>();
            if let Err(error) = words.join(" ").parse::<Filter>() {
                prop_assert!(error.column <= words.join(" ").chars().count() + 1);
            }
        }

        #[test]
        fn negation_and_order(port: u16, limit: u16) {
            let verdict = Verdict { port, ..samples::full() };
            let holds = |text: String| text.parse::<Filter>().unwrap().accepts(&verdict);
            prop_assert_eq!(holds(format!("port < {limit}")), port < limit);
            prop_assert_eq!(holds(format!("not port <= {limit}")), port > limit);
            prop_assert_eq!(holds(format!("port == {limit} or port > {limit}")), port >= limit);
        }
    }
}
