package seccomp

// choice is a range of values of the accumulator; it ends where the next one begins. What its values lead to is that many instructions
// behind the comparisons.
type choice struct {
	first uint32
	to    int
}

// segment is a choice, and single values in it that lead elsewhere.
type segment struct {
	choice
	holes []choice
}

// maxHoles bounds how many single values are looked for one after another.
const maxHoles = 8

// search returns the comparisons that lead each value to its place in the end instructions behind them. It says false if one would
// be too far away to jump to. An end of a range costs one comparison, and so does a single value that interrupts one.
func search(list []choice, end int) (out []instruction, ok bool) {
	segments := fold(list)
	n := len(segments) - 1
	for i := range segments {
		n += len(segments[i].holes)
	}
	if n+end > maxJump {
		return nil, false
	}
	s := &searcher{out: make([]instruction, 0, n), n: n}
	s.write(segments)
	return s.out, true
}

// fold makes segments of choices. Of a value that interrupts a range the range is before it and behind.
func fold(list []choice) []segment {
	var out []segment
	for i := 0; i < len(list); i++ {
		last := len(out) - 1
		if last >= 0 && i+1 < len(list) && list[i+1].first == list[i].first+1 && list[i+1].to == out[last].to && len(out[last].holes) < maxHoles {
			out[last].holes = append(out[last].holes, list[i])
			i++ // goes on in the last one
			continue
		}
		out = append(out, segment{choice: list[i]})
	}
	return out
}

// searcher writes n comparisons.
type searcher struct {
	out []instruction
	n   int
}

// write decides among segments: ranges by halves, then single values. Most comparisons have what comes next behind them, because the
// kernel makes two of those that have it on neither side.
func (s *searcher) write(list []segment) {
	if len(list) == 1 {
		for i, h := range list[0].holes {
			s.out = append(s.out, instruction{code: jeq, k: h.first, jt: s.behind(len(s.out), h.to)})
			if i == len(list[0].holes)-1 {
				s.out[len(s.out)-1].jf = s.behind(len(s.out)-1, list[0].to)
			}
		}
		return
	}
	here, m := len(s.out), middle(list)
	s.out = append(s.out, instruction{code: jge, k: list[m].first})
	s.out[here].jf = s.enter(here, list[:m])
	s.out[here].jt = s.enter(here, list[m:])
}

// enter returns how far it is from a comparison to where the segments are decided.
func (s *searcher) enter(from int, list []segment) uint8 {
	if len(list) == 1 && list[0].holes == nil {
		return s.behind(from, list[0].to)
	}
	distance := len(s.out) - from - 1
	s.write(list)
	return uint8(distance)
}

func (s *searcher) behind(from, to int) uint8 { return uint8(s.n - from - 1 + to) }

// middle splits two or more segments so that both halves take about as many comparisons.
func middle(list []segment) int {
	total := 0
	for i := range list {
		total += 1 + len(list[i].holes)
	}
	sum := 1 + len(list[0].holes)
	m := 1
	for m < len(list)-1 && 2*sum < total {
		sum += 1 + len(list[m].holes)
		m++
	}
	return m
}
