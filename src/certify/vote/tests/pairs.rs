//! The ways to lose against the rules themselves, over all counts of votes.

use crate::certify::vote::{Pair, Rule, is_lost};

/// All ways to share out `k` votes, no class having more than it has rows.
fn ballots(k: usize, sizes: &[usize]) -> Vec<Vec<usize>> {
    let Some((&size, others)) = sizes.split_first() else {
        return if k == 0 { vec![vec![]] } else { vec![] };
    };
    let mut all = Vec::new();
    for count in 0..=k.min(size) {
        all.extend(ballots(k - count, others).into_iter().map(|rest| [vec![count], rest].concat()));
    }
    all
}

fn pairs(rule: Rule, k: usize, classes: usize, c: usize) -> Vec<Pair> {
    match rule {
        Rule::Majority => vec![Pair::majority(k)],
        Rule::Plurality => {
            (0..classes).filter(|&m| m != c).flat_map(|m| Pair::against(m as u32, m < c, k)).collect()
        }
    }
}

/// Whether the counts of a vote are those of a pair.
fn counts_as(pair: &Pair, votes: &[usize], c: usize) -> bool {
    let others: usize = votes.iter().sum::<usize>() - votes[c];
    let rivals = pair.rival.map_or(others, |m| votes[m as usize]);
    let own = if pair.exact { votes[c] == pair.own && others == pair.others } else { votes[c] <= pair.own };
    own && rivals >= pair.rivals && others >= pair.others && others - rivals <= pair.thirds
}

/// Calls a check with rule, votes a ballot has, number of classes, and the class that is to win.
fn for_rules(mut check: impl FnMut(Rule, usize, usize, usize)) {
    for rule in [Rule::Plurality, Rule::Majority] {
        for k in 1..=9 {
            for classes in 1..=4 {
                (0..classes).for_each(|c| check(rule, k, classes, c));
            }
        }
    }
}

#[test]
fn a_vote_is_lost_exactly_where_a_pair_counts_it() {
    for_rules(|rule, k, classes, c| {
        let pairs = pairs(rule, k, classes, c);
        for votes in ballots(k, &vec![k; classes]) {
            let counted = pairs.iter().filter(|pair| counts_as(pair, &votes, c)).count();
            assert_eq!(is_lost(rule, &votes, c), counted > 0, "{rule:?} {votes:?} {c}");
        }
    });
}

#[test]
fn each_class_that_beats_another_does_so_in_one_pair() {
    for_rules(|rule, k, classes, c| {
        for votes in ballots(k, &vec![k; classes]) {
            let ahead = match rule {
                Rule::Majority => usize::from(2 * votes[c] <= k),
                Rule::Plurality => (0..classes).filter(|&m| m != c && (votes[m], c) > (votes[c], m)).count(),
            };
            let counted = pairs(rule, k, classes, c).iter().filter(|pair| counts_as(pair, &votes, c)).count();
            assert_eq!(counted, ahead, "{rule:?} {votes:?} {c}");
        }
    });
}

#[test]
fn a_pair_is_possible_where_some_vote_of_the_rows_counts_as_it() {
    for_rules(|rule, k, classes, c| {
        for sizes in (0..=6).flat_map(|more| ballots(k + more, &vec![4; classes])) {
            let (own, others) = (sizes[c], sizes.iter().sum::<usize>() - sizes[c]);
            let ballots = ballots(k, &sizes);
            for pair in pairs(rule, k, classes, c) {
                let rivals = pair.rival.map_or(others, |m| sizes[m as usize]);
                let counted = ballots.iter().any(|votes| counts_as(&pair, votes, c));
                assert_eq!(pair.is_possible(own, rivals, others), counted, "{pair:?} {sizes:?} {c}");
            }
        }
    });
}

#[test]
fn a_vote_is_lost_to_more_votes_or_as_many_for_a_smaller_label() {
    for (votes, c, plurality, majority) in [
        (vec![2, 1], 0, false, false),
        (vec![2, 1], 1, true, true),
        (vec![2, 2], 0, false, true),
        (vec![2, 2], 1, true, true),
        (vec![2, 3, 2], 1, false, true),
        (vec![0, 3, 2], 1, false, false),
        (vec![1, 1, 1], 0, false, true),
        (vec![1, 1, 1], 2, true, true),
    ] {
        assert_eq!(is_lost(Rule::Plurality, &votes, c), plurality, "{votes:?} {c}");
        assert_eq!(is_lost(Rule::Majority, &votes, c), majority, "{votes:?} {c}");
    }
}
