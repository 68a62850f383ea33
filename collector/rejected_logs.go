package collector

import (
	"context"
	"fmt"

	"github.com/scwatch/scwatch/internal/config"
)

// gatewayLines are the lines of Scaleway's gateway that tell of a refused call:
// those of no instance, because a call that is refused starts none, with a
// status and a word of it. What a function itself prints has an instance and a
// stream.
const gatewayLines = `{resource_type="serverless_function"} | resource_instance="" | stream="" ` +
	"|~ `(?i)unauthori[sz]ed|forbidden|denied|token|authenticat` | regexp `(?:^|[^0-9.])(?P<code>401|403)(?:[^0-9.]|$)` | code=~`401|403`"

// builtinLogsQuery counts them.
const builtinLogsQuery = "sum by (" + labelResource + ", " + labelCode + ") (count_over_time(" + gatewayLines + " [" + config.WindowVariable + "]))"

// inLogs returns the built-in query. Unless the configuration asks for logs, it
// takes a line that the query finds: whether the gateway writes any is in no
// document, and a zero that stands for "it does not" would be a lie.
func (d *discovery) inLogs(ctx context.Context, address string) (*method, error) {
	m := configured(sourceOfLogs, address, builtinLogsQuery)
	m.FoundBy = "the built-in pattern for the gateway's own lines"
	if d.config.Source == config.SourceLogs {
		return m, nil
	}
	found, err := once(d.calls, "lines", func() ([]series, error) {
		return d.cockpit.query(ctx, d.unit, sourceOfLogs, address, m.over(lookBack), "vector", d.now)
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, nil
	}
	m.FoundBy += fmt.Sprintf(", found in the last %s", lookBack)
	return m, nil
}
