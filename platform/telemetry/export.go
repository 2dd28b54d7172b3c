package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// metricInterval is how often a process that runs on sends its metrics. A function sends them
	// with [Telemetry.Flush].
	metricInterval = 30 * time.Second
	// exportTimeout bounds one upload, with its repeats: what takes longer is lost.
	exportTimeout = 10 * time.Second
	// xrayScheme begins an endpoint that is X-Ray itself.
	xrayScheme = "xray"
)

// exporters make what a telemetry's spans and metrics go to, by its options.
func exporters(ctx context.Context, o Options) ([]sdktrace.SpanProcessor, []sdkmetric.Reader, error) {
	spans, metrics := o.SpanProcessors[:len(o.SpanProcessors):len(o.SpanProcessors)], o.MetricReaders[:len(o.MetricReaders):len(o.MetricReaders)]
	if o.EMF != nil {
		metrics = append(metrics, newEMFReader(o.EMF))
	}
	if o.OTLPEndpoint == "" {
		return spans, metrics, nil
	}
	endpoint, err := url.Parse(o.OTLPEndpoint)
	switch {
	case err == nil && endpoint.Scheme == xrayScheme:
		processor, err := toXRay(ctx, endpoint, o.XRay)
		if err != nil {
			return nil, nil, err
		}
		return append(spans, processor), metrics, nil
	case err == nil && endpoint.Host != "" && (endpoint.Scheme == "http" || endpoint.Scheme == "https"):
		processor, reader, err := toCollector(ctx, endpoint)
		if err != nil {
			return nil, nil, err
		}
		return append(spans, processor), append(metrics, reader), nil
	default:
		return nil, nil, fmt.Errorf("OTLP endpoint %q is neither an http or https URL nor xray://REGION", strings.ToValidUTF8(o.OTLPEndpoint, "?"))
	}
}

// toCollector makes the exporters to a collector. Their endpoints are fixed here; headers, such as a
// collector's token, come from OTEL_EXPORTER_OTLP_HEADERS as everywhere.
func toCollector(ctx context.Context, base *url.URL) (sdktrace.SpanProcessor, sdkmetric.Reader, error) {
	client := otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(base.JoinPath("v1/traces").String()))
	spans, err := otlptrace.New(ctx, &patient{Client: client})
	if err != nil {
		return nil, nil, fmt.Errorf("export spans: %w", err)
	}
	metrics, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(base.JoinPath("v1/metrics").String()))
	if err != nil {
		return nil, nil, fmt.Errorf("export metrics: %w", err)
	}
	return sdktrace.NewBatchSpanProcessor(spans), sdkmetric.NewPeriodicReader(metrics, sdkmetric.WithInterval(metricInterval)), nil
}

// toXRay makes the exporter to X-Ray's own OTLP endpoint, which takes spans only. No collector and no
// layer stands between (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-OTLPEndpoint.html).
func toXRay(ctx context.Context, endpoint *url.URL, sign func(string) http.RoundTripper) (sdktrace.SpanProcessor, error) {
	region := endpoint.Host
	target, err := xrayURL(endpoint)
	if err != nil {
		return nil, err
	}
	if sign == nil {
		return nil, fmt.Errorf("OTLP endpoint %q: this program is built without AWS; use the address of a collector, or a build with the tag aws", endpoint)
	}
	client := otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(target),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithHTTPClient(&http.Client{
			Transport: sign(region), Timeout: exportTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: 100 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: exportTimeout / 2,
		}),
	)
	exporter, err := otlptrace.New(ctx, &limited{Client: client})
	if err != nil {
		return nil, fmt.Errorf("export spans to X-Ray: %w", err)
	}
	return sdktrace.NewBatchSpanProcessor(exporter, sdktrace.WithExportTimeout(exportTimeout)), nil
}

// regionForm keeps a region from being anything else than one label of a host's name.
var regionForm = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}$`)

// xrayURL is where the spans of a region go. The parameter endpoint replaces AWS's own address, for an
// endpoint of a private network and for tests.
func xrayURL(endpoint *url.URL) (string, error) {
	const example = "an example is xray://eu-west-1"
	region := endpoint.Host
	if !regionForm.MatchString(region) || strings.Trim(endpoint.Path, "/") != "" || endpoint.User != nil {
		return "", fmt.Errorf("OTLP endpoint %q names no region of AWS; %s", endpoint.Redacted(), example)
	}
	query := endpoint.Query()
	other := query.Get("endpoint")
	query.Del("endpoint")
	if len(query) > 0 {
		return "", fmt.Errorf("OTLP endpoint %q has a parameter other than endpoint; %s", endpoint.Redacted(), example)
	}
	if other == "" {
		domain := "amazonaws.com"
		if strings.HasPrefix(region, "cn-") {
			domain += ".cn"
		}
		return "https://xray." + region + "." + domain + "/v1/traces", nil
	}
	base, err := url.Parse(other)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return "", fmt.Errorf("OTLP endpoint %q: its parameter endpoint is no http or https URL", endpoint.Redacted())
	}
	return base.JoinPath("v1/traces").String(), nil
}
