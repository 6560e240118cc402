{{/* Hot standby (`standby.enabled`): pods of a Deployment that share the shards as a Kafka consumer group. */}}

{{/* "true" if each shard is a pod of a StatefulSet, as it is with several shards and without standby. */}}
{{- define "aries-bridge.isStatefulSet" -}}
{{- if and (gt (int .Values.shards) 1) (not .Values.standby.enabled) -}}true{{- end -}}
{{- end -}}

{{/* The number of pods. */}}
{{- define "aries-bridge.replicas" -}}
{{- if not .Values.standby.enabled -}}
{{- int .Values.shards -}}
{{- else if kindIs "invalid" .Values.replicas -}}
{{- add1 (int .Values.shards) -}}
{{- else -}}
{{- int .Values.replicas -}}
{{- end -}}
{{- end -}}

{{/* How the Deployment replaces pods. With standby new pods are ready beside the old ones, and wait until these hand
     their shards over, or end if they are of no group. A bridge without standby is ready only when it has a session. */}}
{{- define "aries-bridge.strategy" -}}
{{- .Values.strategy.type | default (ternary "RollingUpdate" "Recreate" .Values.standby.enabled) -}}
{{- end -}}

{{/* Where pods are to run, unless the values say so. Old pods do not count, as they end (Kubernetes 1.27 or newer). */}}
{{- define "aries-bridge.spread" -}}
{{- if .Values.topologySpreadConstraints -}}
{{- toYaml .Values.topologySpreadConstraints -}}
{{- else if .Values.standby.enabled -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  matchLabelKeys: [pod-template-hash]
{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" if there is a PodDisruptionBudget. */}}
{{- define "aries-bridge.hasBudget" -}}
{{- $enabled := .Values.podDisruptionBudget.enabled -}}
{{- if kindIs "invalid" $enabled | ternary .Values.standby.enabled $enabled -}}true{{- end -}}
{{- end -}}

{{/* The consumer group by which pods share the shards. */}}
{{- define "aries-bridge.group" -}}
{{- .Values.bridge.group | default (printf "%s/%s" .Release.Namespace (include "aries-bridge.fullname" .)) -}}
{{- end -}}

{{- define "aries-bridge.check.standby" -}}
{{- $v := .Values -}}
{{- $replicas := include "aries-bridge.replicas" . | int -}}
{{- if $v.standby.enabled }}
{{- if $v.bridge.instance }}
- bridge.instance is {{ $v.bridge.instance }}, but standby.enabled is true: the pods of a group need different names. Leave it empty, so that each has the name of its pod.
{{- end }}
{{- $least := $v.podDisruptionBudget.minAvailable -}}
{{- if and (include "aries-bridge.hasBudget" .) (regexMatch "^[0-9]+$" (include "aries-bridge.text" $least)) }}
{{- if and (gt $replicas 1) (ge (int $least) $replicas) }}
- podDisruptionBudget.minAvailable is {{ int $least }}, but there are {{ $replicas }} pods: no node with one could be drained. Set it to {{ sub $replicas 1 }} or less, or leave it empty.
{{- end }}
{{- end }}
{{- $partitions := $v.strimzi.topics.shardPartitions -}}
{{- if and (not (kindIs "invalid" $partitions)) (lt (int $partitions) (int $v.shards)) }}
- strimzi.topics.shardPartitions is {{ int $partitions }}, but shards is {{ int $v.shards }}: each shard needs a partition. Set it to {{ int $v.shards }} or more, or leave it empty.
{{- end }}
{{- else if not (kindIs "invalid" $v.replicas) }}
- replicas is {{ int $v.replicas }}, but standby.enabled is false: bridges that are not a group would all publish the same. Set standby.enabled to true, or leave replicas empty.
{{- end }}
{{- end -}}
