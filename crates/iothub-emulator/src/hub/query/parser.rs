use super::{
    Mistake, Path, Query, Selection, Source,
    column::{Aggregate, Column, What},
    cursor::Cursor,
    expression::{Arithmetic, Comparison, Expression},
    function::Function,
    lexer::{Kind, Token},
    value::Value,
};

/// Understands the tokens of a query by recursive descent: a method for each rank of operators.
pub(super) struct Parser<'t> {
    cursor: Cursor<'t>,
    /// How many brackets, signs and NOTs are open.
    depth: usize,
    source: Source,
}

impl<'t> Parser<'t> {
    pub(super) fn new(text: &'t str) -> Result<Self, Mistake> {
        Ok(Self {
            cursor: Cursor::new(text)?,
            depth: 0,
            source: Source::Devices,
        })
    }

    pub(super) fn query(mut self) -> Result<Query, Mistake> {
        self.cursor.expect_word("SELECT")?;
        // How paths are spelt depends on what they are paths of, which is only said behind them.
        let select = self.cursor.at;
        self.source = self.find_source();
        self.cursor.at = select;

        let top = if self.cursor.take_word("TOP") {
            Some(self.top()?)
        } else {
            None
        };
        let columns_at = self.cursor.here().position;
        let columns = if self.cursor.take_symbol("*") {
            None
        } else {
            Some(self.columns()?)
        };
        if !self.cursor.take_word("FROM") {
            return Err(self
                .cursor
                .expected(if columns.is_some() { "AS, `,` or FROM" } else { "FROM" }));
        }
        self.source = self.source()?;
        let condition = if self.cursor.take_word("WHERE") {
            Some(self.expression()?)
        } else {
            None
        };
        let group_at = self.cursor.here().position;
        let by = if self.cursor.take_word("GROUP") {
            self.group_by()?
        } else {
            Vec::new()
        };
        if self.cursor.here().kind != Kind::End {
            return Err(self.cursor.expected(match (&condition, by.is_empty()) {
                (_, false) => "`,` or the end of the text",
                (Some(_), _) => "an operator, GROUP BY or the end of the text",
                (None, _) => "WHERE, GROUP BY or the end of the text",
            }));
        }
        let selection = match columns {
            Some(_) if self.source == Source::Jobs => {
                return Err(Mistake::new(columns_at, "from devices.jobs there is `SELECT *` only"));
            }
            None if by.is_empty() => Selection::Documents,
            None => return Err(Mistake::new(group_at, "GROUP BY does not go with `SELECT *`")),
            Some(columns) => selection(columns, by)?,
        };
        Ok(Query {
            source: self.source,
            top,
            selection,
            condition,
        })
    }

    pub(super) fn condition(mut self) -> Result<(Source, Option<Expression>), Mistake> {
        let expression = if self.cursor.take_symbol("*") {
            None
        } else if self.cursor.take_word("FROM") {
            self.source = self.source()?;
            if self.cursor.take_word("WHERE") {
                Some(self.expression()?)
            } else {
                None
            }
        } else {
            Some(self.expression()?)
        };
        match self.cursor.here().kind {
            Kind::End => Ok((self.source, expression)),
            _ => Err(self.cursor.expected(if expression.is_some() {
                "an operator or the end of the text"
            } else {
                "the end of the text"
            })),
        }
    }

    fn top(&mut self) -> Result<u64, Mistake> {
        match self.cursor.here().kind {
            Kind::Number(number) if number >= 1.0 && number.fract() == 0.0 && number <= u32::MAX.into() => {
                self.cursor.at += 1;
                Ok(number as u64)
            }
            _ => Err(self.cursor.expected("how many rows, a whole number from 1")),
        }
    }

    fn columns(&mut self) -> Result<Vec<Column>, Mistake> {
        let mut columns: Vec<Column> = Vec::new();
        let mut unnamed = 0;
        loop {
            let position = self.cursor.here().position;
            let what = self.column()?;
            let given = if self.cursor.take_word("AS") {
                Some(self.cursor.name("a name for the column")?)
            } else {
                None
            };
            let name = match (given, &what) {
                (Some(name), _) => name.into(),
                (None, What::Path(path)) => path.last().to_owned(),
                // How the hub names an aggregate that has no name is not documented; this is its store's habit.
                (None, What::Aggregate(_)) => {
                    unnamed += 1;
                    format!("${unnamed}")
                }
            };
            if columns.iter().any(|column| column.name == name) {
                let message = format!("two columns are named `{name}`: give one of them another name with AS");
                return Err(Mistake::new(position, message));
            }
            columns.push(Column { name, what, position });
            if !self.cursor.take_symbol(",") {
                return Ok(columns);
            }
        }
    }

    fn column(&mut self) -> Result<What, Mistake> {
        let position = self.cursor.here().position;
        if self.cursor.here().kind != Kind::Name || self.cursor.is_reserved() {
            return Err(self.cursor.expected("`*`, a path or an aggregate"));
        }
        if !self.cursor.next_is("(") {
            return self.path().map(What::Path);
        }
        let name = self.cursor.here().text.to_ascii_uppercase();
        let aggregate: fn(Path) -> Aggregate = match name.as_str() {
            "COUNT" => |_| Aggregate::Count,
            "SUM" => Aggregate::Sum,
            "AVG" => Aggregate::Average,
            "MIN" => Aggregate::Least,
            "MAX" => Aggregate::Greatest,
            _ => {
                let message = format!("`{name}` is no aggregate: there are COUNT, SUM, AVG, MIN and MAX");
                return Err(Mistake::new(position, message));
            }
        };
        self.cursor.at += 2;
        let path = if name == "COUNT" {
            Path::new(Vec::new(), self.source)
        } else {
            self.path()?
        };
        self.cursor.expect_symbol(")")?;
        Ok(What::Aggregate(aggregate(path)))
    }

    fn source(&mut self) -> Result<Source, Mistake> {
        if !self.cursor.take_word("devices") {
            return Err(self.cursor.expected("`devices`, `devices.modules` or `devices.jobs`"));
        }
        if !self.cursor.take_symbol(".") {
            return Ok(Source::Devices);
        }
        if self.cursor.take_word("modules") {
            Ok(Source::Modules)
        } else if self.cursor.take_word("jobs") {
            Ok(Source::Jobs)
        } else {
            Err(self.cursor.expected("`modules` or `jobs`"))
        }
    }

    fn group_by(&mut self) -> Result<Vec<Path>, Mistake> {
        self.cursor.expect_word("BY")?;
        let mut paths = vec![self.path()?];
        while self.cursor.take_symbol(",") {
            paths.push(self.path()?);
        }
        Ok(paths)
    }

    fn expression(&mut self) -> Result<Expression, Mistake> {
        let mut parts = vec![self.all()?];
        while self.cursor.take_word("OR") {
            parts.push(self.all()?);
        }
        Ok(joined(parts, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, Mistake> {
        let mut parts = vec![self.not()?];
        while self.cursor.take_word("AND") {
            parts.push(self.not()?);
        }
        Ok(joined(parts, Expression::All))
    }

    fn not(&mut self) -> Result<Expression, Mistake> {
        if !self.cursor.take_word("NOT") {
            return self.comparison();
        }
        self.deeper(Self::not).map(|part| Expression::Not(Box::new(part)))
    }

    fn comparison(&mut self) -> Result<Expression, Mistake> {
        let left = self.sum()?;
        for (word, negated) in [("IN", false), ("NIN", true)] {
            if self.cursor.take_word(word) {
                return Ok(Expression::In {
                    value: Box::new(left),
                    items: self.array()?,
                    negated,
                });
            }
        }
        let Some((_, comparison)) = COMPARISONS.iter().find(|(symbol, _)| self.cursor.is_symbol(symbol)) else {
            return Ok(left);
        };
        self.cursor.at += 1;
        Ok(Expression::Compare(Box::new((left, *comparison, self.sum()?))))
    }

    fn sum(&mut self) -> Result<Expression, Mistake> {
        self.chain(&[("+", Arithmetic::Add), ("-", Arithmetic::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Expression, Mistake> {
        let operators = [
            ("*", Arithmetic::Multiply),
            ("/", Arithmetic::Divide),
            ("%", Arithmetic::Remainder),
        ];
        self.chain(&operators, Self::signed)
    }

    fn chain(
        &mut self,
        operators: &[(&str, Arithmetic)],
        part: fn(&mut Self) -> Result<Expression, Mistake>,
    ) -> Result<Expression, Mistake> {
        let first = part(self)?;
        let mut rest = Vec::new();
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| self.cursor.is_symbol(symbol)) {
            self.cursor.at += 1;
            rest.push((*operator, part(self)?));
        }
        Ok(if rest.is_empty() {
            first
        } else {
            Expression::Chain(Box::new(first), rest)
        })
    }

    fn signed(&mut self) -> Result<Expression, Mistake> {
        if !self.cursor.take_symbol("-") {
            return self.primary();
        }
        self.deeper(Self::signed)
            .map(|part| Expression::Negative(Box::new(part)))
    }

    fn primary(&mut self) -> Result<Expression, Mistake> {
        if self.cursor.take_symbol("(") {
            let inner = self.deeper(Self::expression)?;
            return if self.cursor.take_symbol(")") {
                Ok(inner)
            } else {
                Err(self.cursor.expected("`)` or an operator"))
            };
        }
        if self.cursor.is_symbol("[") {
            let items = self.array()?;
            return Ok(Expression::Literal(Value::Array(super::value::Items::Literals(
                items.into(),
            ))));
        }
        if self.cursor.next_is("(") && self.cursor.here().kind == Kind::Name && !self.cursor.is_reserved() {
            return self.call();
        }
        if !self.cursor.next_is(".")
            && let Some(value) = self.cursor.literal()
        {
            return Ok(Expression::Literal(value));
        }
        if self.cursor.here().kind == Kind::Name && !self.cursor.is_reserved() {
            return self.path().map(Expression::Path);
        }
        Err(self.cursor.expected("a value, a path, a function or `(`"))
    }

    fn call(&mut self) -> Result<Expression, Mistake> {
        let Token { text, position, .. } = *self.cursor.here();
        let function = Function::named(text);
        let function = function.ok_or_else(|| Mistake::new(position, format!("there is no function `{text}`")))?;
        self.cursor.at += 2;
        let mut arguments = Vec::new();
        if !self.cursor.take_symbol(")") {
            loop {
                arguments.push(self.deeper(Self::expression)?);
                if !self.cursor.take_symbol(",") {
                    break;
                }
            }
            if !self.cursor.take_symbol(")") {
                return Err(self.cursor.expected("`,`, `)` or an operator"));
            }
        }
        if !function.arity().contains(&arguments.len()) {
            let (least, most) = (*function.arity().start(), *function.arity().end());
            let takes = match (least, most) {
                (1, 1) => "1 argument".to_owned(),
                (least, most) if least == most => format!("{least} arguments"),
                (least, usize::MAX) => format!("{least} arguments or more"),
                (least, most) => format!("{least} to {most} arguments"),
            };
            let message = format!("{} takes {takes}, not {}", function.name(), arguments.len());
            return Err(Mistake::new(position, message));
        }
        Ok(Expression::Call(function, arguments))
    }

    fn array(&mut self) -> Result<Vec<Value<'static>>, Mistake> {
        self.cursor.expect_symbol("[")?;
        let mut items = Vec::new();
        if self.cursor.take_symbol("]") {
            return Ok(items);
        }
        loop {
            let negative = self.cursor.take_symbol("-");
            let item = match (self.cursor.literal(), negative) {
                (Some(Value::Number(number)), true) => Value::Number(-number),
                (Some(item), false) => item,
                (Some(_), true) => return Err(self.cursor.expected("a number behind the sign")),
                (None, _) => return Err(self.cursor.expected("a number, a text, true, false, null or undefined")),
            };
            items.push(item);
            if !self.cursor.take_symbol(",") {
                break;
            }
        }
        if self.cursor.take_symbol("]") {
            Ok(items)
        } else {
            Err(self.cursor.expected("`,` or `]`"))
        }
    }

    fn path(&mut self) -> Result<Path, Mistake> {
        if self.cursor.is_reserved() {
            return Err(self.cursor.expected("a path"));
        }
        let mut names: Vec<Box<str>> = vec![self.cursor.name("a path")?];
        loop {
            if self.cursor.here().kind == Kind::QuotedName {
                names.push(self.cursor.name("")?);
            } else if self.cursor.take_symbol(".") {
                names.push(self.cursor.name("the name of a member or `[[name]]`")?);
            } else {
                return Ok(Path::new(names, self.source));
            }
        }
    }

    /// Understands a part that is one level deeper. What is too deep could bring the stack down.
    fn deeper(&mut self, part: fn(&mut Self) -> Result<Expression, Mistake>) -> Result<Expression, Mistake> {
        if self.depth == DEEPEST {
            let position = self.cursor.here().position;
            return Err(Mistake::new(
                position,
                format!("this is nested deeper than {DEEPEST} levels"),
            ));
        }
        self.depth += 1;
        let part = part(self);
        self.depth -= 1;
        part
    }

    /// What stands behind FROM, if it does: mistakes are found when the parser gets there.
    fn find_source(&mut self) -> Source {
        while self.cursor.here().kind != Kind::End {
            let before = self.cursor.before();
            let is_name = before == "." || before.eq_ignore_ascii_case("AS");
            if !is_name && self.cursor.take_word("FROM") {
                return self.source().unwrap_or(Source::Devices);
            }
            self.cursor.at += 1;
        }
        Source::Devices
    }
}

fn joined(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1 { parts.remove(0) } else { join(parts) }
}

/// What the columns of a query make of it: one row a document, or one a group.
fn selection(columns: Vec<Column>, by: Vec<Path>) -> Result<Selection, Mistake> {
    let aggregates = columns.iter().any(|column| matches!(column.what, What::Aggregate(_)));
    if !aggregates && by.is_empty() {
        return Ok(Selection::Columns(columns));
    }
    for column in &columns {
        if let What::Path(path) = &column.what
            && !by.contains(path)
        {
            let beside = if aggregates {
                "stands beside an aggregate"
            } else {
                "is selected from groups"
            };
            let message = format!("`{path}` {beside}, so it has to be in GROUP BY");
            return Err(Mistake::new(column.position, message));
        }
    }
    Ok(Selection::Groups { columns, by })
}

const COMPARISONS: &[(&str, Comparison)] = &[
    ("=", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<>", Comparison::NotEqual),
    ("<", Comparison::Less),
    ("<=", Comparison::LessOrEqual),
    (">", Comparison::Greater),
    (">=", Comparison::GreaterOrEqual),
];

const DEEPEST: usize = 64;
