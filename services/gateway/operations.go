package gateway

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	operationsv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/operations/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/queue"
	"github.com/riskprofiler/riskprofiler/platform/resource"
)

func (s *Service) queueOf(name string) (*queue.Queue, error) {
	q := s.queues[resource.ID(name)]
	if q == nil {
		return nil, fault.New(fault.NotFound, "%s does not exist", name)
	}
	return q, nil
}

// ListQueues tells how deep every queue is.
func (s *Service) ListQueues(ctx context.Context, _ *operationsv1.ListQueuesRequest) (*operationsv1.ListQueuesResponse, error) {
	res := &operationsv1.ListQueuesResponse{}
	for n, q := range s.queues {
		d, err := q.Depth(ctx)
		if err != nil {
			return nil, err
		}
		out := &operationsv1.Queue{
			Name: "queues/" + n, Visible: uint64(d.Visible), InFlight: uint64(d.InFlight), Delayed: uint64(d.Delayed), Parked: uint64(d.Parked),
		}
		if !d.OldestSentAt.IsZero() {
			out.OldestTime = timestamppb.New(d.OldestSentAt)
		}
		res.Queues = append(res.Queues, out)
	}
	slices.SortFunc(res.Queues, func(a, b *operationsv1.Queue) int { return strings.Compare(a.GetName(), b.GetName()) })
	return res, nil
}

// ListParkedMessages lists what failed five times.
func (s *Service) ListParkedMessages(ctx context.Context, req *operationsv1.ListParkedMessagesRequest) (*operationsv1.ListParkedMessagesResponse, error) {
	q, err := s.queueOf(req.GetQueue())
	if err != nil {
		return nil, err
	}
	list, next, err := q.Parked(ctx, req.GetPageToken(), min(resource.PageSize(req.GetPageSize()), queue.MaxPage))
	if err != nil {
		return nil, err
	}
	res := &operationsv1.ListParkedMessagesResponse{NextPageToken: next}
	for _, m := range list {
		res.Messages = append(res.Messages, &operationsv1.ParkedMessage{
			Id: m.ID, Group: m.Group, Error: m.Error, TraceId: m.TraceID, SentTime: timestamppb.New(m.SentAt), ParkedTime: timestamppb.New(m.ParkedAt), Bytes: uint64(len(m.Body)),
		})
	}
	return res, nil
}

// RedriveMessages puts parked messages back.
func (s *Service) RedriveMessages(ctx context.Context, req *operationsv1.RedriveMessagesRequest) (*operationsv1.RedriveMessagesResponse, error) {
	q, err := s.queueOf(req.GetQueue())
	if err != nil {
		return nil, err
	}
	n, err := q.Redrive(ctx, req.GetIds()...)
	return &operationsv1.RedriveMessagesResponse{Redriven: uint32(n)}, err
}
