package pod

import (
	"fmt"
	"strings"
)

// nameOthers adds the names of other pods that an error speaks of, such as the one that has published a port already:
// plugins know pods by their IDs only, which say nothing to people.
func (m *Manager) nameOthers(err error, own string) error {
	text := err.Error()
	var names []string
	m.mu.Lock()
	for id, p := range m.pods {
		if id == own || !strings.Contains(text, id) {
			continue
		}
		names = append(names, fmt.Sprintf("%.12s is pod %s/%s", id, p.rec.Config.Namespace, p.rec.Config.Name))
		for _, c := range m.containersOfLocked(id) {
			names = append(names, fmt.Sprintf("with container %s, %.12s", c.rec.Config.Name, c.rec.ID))
		}
	}
	m.mu.Unlock()
	if names == nil {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(names, ", "))
}
